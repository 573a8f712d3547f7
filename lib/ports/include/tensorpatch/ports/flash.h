/* tensorpatch/ports/flash.h: raw flash as storage for tensorpatch_ports, and a log of records that
 * survives power cuts.
 *
 * Old and new models lie in areas of whole pages. What the applier writes is collected to whole
 * words; every page is erased before it is written; a word is never programmed twice. A bundle's
 * erase size must be a multiple of the page size, else the first erase fails.
 *
 * The log keeps one small record (a checkpoint, the state of lib/slots) in two or more pages.
 * Records are appended with a sequence number and a check; the first one after each start goes to
 * a freshly erased page, because a word that a power cut has touched may look erased and is not.
 * So a cut leaves the record before or the new one. With three pages one of them may be broken.
 * What a torn word reads as must not change from one read to the next; where it can, the record
 * before may come back.
 *
 * No memory is allocated. Structures are the caller's and must outlive the applier; functions
 * return 0 unless said otherwise.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TENSORPATCH_PORTS_FLASH_H
#define TENSORPATCH_PORTS_FLASH_H

#include "tensorpatch/apply.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
  TENSORPATCH_FLASH_DAMAGED = 1, /* read: the chip is well, these bytes are lost (ECC) */
  TENSORPATCH_FLASH_NO_RECORD = 1,
  TENSORPATCH_FLASH_MAX_WRITE_SIZE = 32,
  TENSORPATCH_FLASH_MAX_RECORD_SIZE = 128,
  TENSORPATCH_FLASH_TAG_SIZE = 16,
  TENSORPATCH_FLASH_MIN_PAGE_SIZE = 256
};

/* A flash chip, or a part of one; offsets count from its start. Each callback returns 0, or
 * anything else when it fails. */
typedef struct tensorpatch_flash {
  void* context; /* handed to every callback */
  int (*read)(void* context, uint64_t offset, uint8_t* data, size_t size);
  /* Whole words that are erased. */
  int (*program)(void* context, uint64_t offset, const uint8_t* data, size_t size);
  /* Whole pages, one or more. */
  int (*erase)(void* context, uint64_t offset, uint64_t size);
  uint32_t page_size;   /* what erase works on; a power of two */
  uint32_t write_size;  /* a word: what can be programmed once; a power of two */
  uint8_t erased_value; /* 0xFF or 0x00 */
} tensorpatch_flash;

/* Whole pages. */
typedef struct tensorpatch_flash_area {
  uint64_t offset;
  uint64_t size;
} tensorpatch_flash_area;

/* Makes records provably the device's own: a MAC by the caller's library, with a key that whoever
 * can write the flash does not have. It does not stop old records from being put back. */
typedef struct tensorpatch_mac_port {
  void* context;
  int (*compute)(void* context, const uint8_t* data, size_t size,
                 uint8_t tag[TENSORPATCH_FLASH_TAG_SIZE]);
} tensorpatch_mac_port;

/* Set the first three, zero the rest, open. */
typedef struct tensorpatch_flash_log {
  const tensorpatch_flash* flash;
  tensorpatch_flash_area area; /* two pages at least */
  tensorpatch_mac_port mac;    /* compute NULL: none */
  /* Private. */
  uint64_t newest; /* offset of the newest record in the area */
  uint64_t next;   /* where the next record goes, in a page erased since the start; or nowhere */
  uint32_t sequence;
  uint16_t newest_size;
  uint8_t is_open;
} tensorpatch_flash_log;

/* Finds the newest record. Not 0: the flash cannot be read, or the fields above do not fit. */
int tensorpatch_flash_log_open(tensorpatch_flash_log* log);

/* The newest record; TENSORPATCH_FLASH_NO_RECORD when there is none of this size. These two take a
 * tensorpatch_flash_log as context, so that they can be callbacks. */
int tensorpatch_flash_log_load(void* log, uint8_t* data, size_t size);

/* Replaces the record, 1 to TENSORPATCH_FLASH_MAX_RECORD_SIZE bytes. Not 0: the one before stays.
 */
int tensorpatch_flash_log_save(void* log, const uint8_t* data, size_t size);

/* From now on there is no record. */
int tensorpatch_flash_log_clear(tensorpatch_flash_log* log);

/* The storage of one update. Set what is above the line, zero the rest. */
typedef struct tensorpatch_flash_storage {
  const tensorpatch_flash* old_flash;
  const tensorpatch_flash* new_flash; /* may be the same */
  tensorpatch_flash_area old_areas[TENSORPATCH_MAX_COMPONENTS];
  tensorpatch_flash_area new_areas[TENSORPATCH_MAX_COMPONENTS];
  tensorpatch_flash_log* checkpoints; /* open; NULL: an interrupted update begins anew */
  /* Private: bytes that do not fill a word yet. */
  uint64_t word_offset;
  uint32_t word_component;
  uint32_t word_filled;
  uint8_t word[TENSORPATCH_FLASH_MAX_WRITE_SIZE];
} tensorpatch_flash_storage;

/* Sets context, read_old, write_new, read_new, erase and, with a log, save_checkpoint. Not 0 when
 * a page or write size is no power of two or out of range, or an area is no whole pages. */
int tensorpatch_flash_set_ports(tensorpatch_flash_storage* storage, tensorpatch_ports* ports);

#ifdef __cplusplus
}
#endif

#endif /* TENSORPATCH_PORTS_FLASH_H */
