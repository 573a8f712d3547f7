/* flash.c: see tensorpatch/ports/flash.h.
 *
 * A record of the log, at a multiple of the write size, never over the end of a page:
 * magic (4), sequence u32, size u16, zero u16, data, tag (16; zero without a MAC), CRC-32 of all
 * before, filled up with the erased value. The tag covers all before it. Integers are
 * little-endian. Size 0: there is no record from here on. CRC-32: ISO 3309, the polynomial
 * reversed.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tensorpatch/ports/flash.h"

#include <string.h>

enum {
  MAGIC_SIZE = 4,
  HEADER_SIZE = 12,
  CHECK_SIZE = 4,
  MAX_PLACE_SIZE = HEADER_SIZE + TENSORPATCH_FLASH_MAX_RECORD_SIZE + TENSORPATCH_FLASH_TAG_SIZE +
                   CHECK_SIZE, /* a multiple of every write size */
  FAILED = -1
};

static const uint8_t magic[MAGIC_SIZE] = {'T', 'P', 'L', 1};
static const uint64_t nowhere = UINT64_MAX;

/* --- Geometry -------------------------------------------------------------------------------- */

static int is_power_of_two(uint32_t value) {
  return value != 0 && (value & (value - 1)) == 0;
}

static int is_valid_flash(const tensorpatch_flash* flash) {
  return flash != NULL && is_power_of_two(flash->page_size) && is_power_of_two(flash->write_size) &&
         flash->page_size >= TENSORPATCH_FLASH_MIN_PAGE_SIZE &&
         flash->write_size <= TENSORPATCH_FLASH_MAX_WRITE_SIZE;
}

static int is_whole_pages(const tensorpatch_flash* flash, tensorpatch_flash_area area) {
  return ((area.offset | area.size) & (flash->page_size - 1)) == 0 &&
         area.offset <= UINT64_MAX - area.size;
}

static int is_inside(tensorpatch_flash_area area, uint64_t offset, uint64_t size) {
  return offset <= area.size && size <= area.size - offset;
}

/* --- Records --------------------------------------------------------------------------------- */

static uint32_t crc32(const uint8_t* data, size_t size) {
  uint32_t crc = UINT32_MAX;
  size_t i;
  for (i = 0; i < 8 * size; ++i) {
    if (i % 8 == 0) crc ^= data[i / 8];
    crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320u : 0);
  }
  return ~crc;
}

static void put_number(uint8_t* bytes, uint32_t value, size_t size) {
  size_t i;
  for (i = 0; i < size; ++i) bytes[i] = (uint8_t)(value >> 8 * i);
}

static uint32_t number_at(const uint8_t* bytes, size_t size) {
  uint32_t value = 0;
  size_t i;
  for (i = 0; i < size; ++i) value |= (uint32_t)bytes[i] << 8 * i;
  return value;
}

static int add_tag(const tensorpatch_flash_log* log, uint8_t* record, size_t data_size,
                   uint8_t* tag) {
  memset(tag, 0, TENSORPATCH_FLASH_TAG_SIZE);
  if (log->mac.compute == NULL) return 0;
  return log->mac.compute(log->mac.context, record, HEADER_SIZE + data_size, tag);
}

static size_t place_size(const tensorpatch_flash_log* log, size_t data_size) {
  const size_t size = HEADER_SIZE + data_size + TENSORPATCH_FLASH_TAG_SIZE + CHECK_SIZE;
  const size_t word = log->flash->write_size;
  return (size + word - 1) / word * word;
}

/* Where a record ends that begins at `offset`, when its page can hold it; else `nowhere`. */
static uint64_t end_in_page(const tensorpatch_flash_log* log, uint64_t offset, size_t data_size) {
  const uint64_t page = log->flash->page_size;
  const uint64_t end = offset + place_size(log, data_size);
  return end <= (offset / page + 1) * page ? end : nowhere;
}

static int read_log(const tensorpatch_flash_log* log, uint64_t offset, uint8_t* data, size_t size) {
  return log->flash->read(log->flash->context, log->area.offset + offset, data, size);
}

/* Reads what may be a record: 0 when it is one, TENSORPATCH_FLASH_NO_RECORD when not. */
static int read_record(const tensorpatch_flash_log* log, uint64_t offset,
                       uint8_t record[MAX_PLACE_SIZE]) {
  uint8_t tag[TENSORPATCH_FLASH_TAG_SIZE];
  uint8_t difference = 0;
  size_t data_size;
  size_t tag_at;
  size_t i;
  int result;
  if (end_in_page(log, offset, 0) == nowhere) return TENSORPATCH_FLASH_NO_RECORD;
  result = read_log(log, offset, record, HEADER_SIZE);
  if (result != 0)
    return result == TENSORPATCH_FLASH_DAMAGED ? TENSORPATCH_FLASH_NO_RECORD : result;
  data_size = number_at(record + 8, 2);
  if (memcmp(record, magic, MAGIC_SIZE) != 0 || number_at(record + 10, 2) != 0 ||
      data_size > TENSORPATCH_FLASH_MAX_RECORD_SIZE ||
      end_in_page(log, offset, data_size) == nowhere) {
    return TENSORPATCH_FLASH_NO_RECORD;
  }
  tag_at = HEADER_SIZE + data_size;
  result = read_log(log, offset + HEADER_SIZE, record + HEADER_SIZE,
                    data_size + TENSORPATCH_FLASH_TAG_SIZE + CHECK_SIZE);
  if (result != 0)
    return result == TENSORPATCH_FLASH_DAMAGED ? TENSORPATCH_FLASH_NO_RECORD : result;
  if (crc32(record, tag_at + sizeof tag) != number_at(record + tag_at + sizeof tag, CHECK_SIZE)) {
    return TENSORPATCH_FLASH_NO_RECORD;
  }
  if (add_tag(log, record, data_size, tag) != 0) return FAILED;
  for (i = 0; i < sizeof tag; ++i) difference |= (uint8_t)(tag[i] ^ record[tag_at + i]);
  return difference == 0 ? 0 : TENSORPATCH_FLASH_NO_RECORD;
}

/* Looks at the records of one page; remembers the newest. */
static int scan_page(tensorpatch_flash_log* log, uint64_t page_offset) {
  uint64_t offset = page_offset;
  while (offset < page_offset + log->flash->page_size) {
    uint8_t record[MAX_PLACE_SIZE];
    const int result = read_record(log, offset, record);
    size_t size;
    uint32_t sequence;
    if (result == TENSORPATCH_FLASH_NO_RECORD) return 0;
    if (result != 0) return FAILED;
    size = number_at(record + 8, 2);
    sequence = number_at(record + MAGIC_SIZE, 4);
    if (log->newest == nowhere || sequence > log->sequence) {
      log->newest = offset;
      log->newest_size = (uint16_t)size;
      log->sequence = sequence;
    }
    offset += place_size(log, size);
  }
  return 0;
}

int tensorpatch_flash_log_open(tensorpatch_flash_log* log) {
  uint64_t offset;
  log->is_open = 0;
  log->newest = nowhere;
  log->next = nowhere;
  log->newest_size = 0;
  log->sequence = 0;
  if (!is_valid_flash(log->flash) || !is_whole_pages(log->flash, log->area) ||
      log->area.size / log->flash->page_size < 2) {
    return FAILED;
  }
  for (offset = 0; offset < log->area.size; offset += log->flash->page_size) {
    if (scan_page(log, offset) != 0) return FAILED;
  }
  log->is_open = 1;
  return 0;
}

int tensorpatch_flash_log_load(void* context, uint8_t* data, size_t size) {
  const tensorpatch_flash_log* log = (const tensorpatch_flash_log*)context;
  uint8_t record[MAX_PLACE_SIZE];
  if (!log->is_open) return FAILED;
  if (log->newest == nowhere || log->newest_size != size || size == 0) {
    return TENSORPATCH_FLASH_NO_RECORD;
  }
  /* It was one when the log was opened: anything else now is a failure of the flash. */
  if (read_record(log, log->newest, record) != 0) return FAILED;
  memcpy(data, record + HEADER_SIZE, size);
  return 0;
}

static int program_record(tensorpatch_flash_log* log, uint64_t offset, const uint8_t* record,
                          size_t data_size) {
  const size_t size = place_size(log, data_size);
  const tensorpatch_flash* flash = log->flash;
  if (flash->program(flash->context, log->area.offset + offset, record, size) != 0) return FAILED;
  log->newest = offset;
  log->newest_size = (uint16_t)data_size;
  log->next = (offset + size) % flash->page_size != 0 ? offset + size : nowhere;
  return 0;
}

static int save(tensorpatch_flash_log* log, const uint8_t* data, size_t size) {
  const uint64_t page_size = log->flash->page_size;
  const uint64_t pages = log->area.size / page_size;
  const uint64_t newest_page = log->newest == nowhere ? pages - 1 : log->newest / page_size;
  const size_t tag_at = HEADER_SIZE + size;
  uint8_t record[MAX_PLACE_SIZE];
  uint64_t place = log->next;
  uint64_t i;
  if (log->sequence == UINT32_MAX) return FAILED;
  memset(record, log->flash->erased_value, sizeof record);
  memcpy(record, magic, MAGIC_SIZE);
  /* Never used again: what a failed write has left may yet look like a record. */
  put_number(record + MAGIC_SIZE, ++log->sequence, 4);
  put_number(record + 8, (uint32_t)size, 2);
  put_number(record + 10, 0, 2);
  if (size != 0) memcpy(record + HEADER_SIZE, data, size);
  if (add_tag(log, record, size, record + tag_at) != 0) return FAILED;
  put_number(record + tag_at + TENSORPATCH_FLASH_TAG_SIZE,
             crc32(record, tag_at + TENSORPATCH_FLASH_TAG_SIZE), CHECK_SIZE);

  log->next = nowhere; /* unless it works */
  if (place != nowhere && end_in_page(log, place, size) != nowhere &&
      program_record(log, place, record, size) == 0) {
    return 0;
  }
  /* Another page: never that of the newest record, the oldest first. */
  for (i = 1; i < pages; ++i) {
    place = (newest_page + i) % pages * page_size;
    if (log->flash->erase(log->flash->context, log->area.offset + place, page_size) == 0 &&
        program_record(log, place, record, size) == 0) {
      return 0;
    }
  }
  return FAILED;
}

int tensorpatch_flash_log_save(void* context, const uint8_t* data, size_t size) {
  tensorpatch_flash_log* log = (tensorpatch_flash_log*)context;
  if (!log->is_open || size == 0 || size > TENSORPATCH_FLASH_MAX_RECORD_SIZE) return FAILED;
  return save(log, data, size);
}

int tensorpatch_flash_log_clear(tensorpatch_flash_log* log) {
  if (!log->is_open) return FAILED;
  if (log->newest == nowhere || log->newest_size == 0) return 0;
  return save(log, NULL, 0);
}

/* --- Models ---------------------------------------------------------------------------------- */

static int read_area(const tensorpatch_flash* flash, tensorpatch_flash_area area, uint64_t offset,
                     uint8_t* data, size_t size) {
  if (!is_inside(area, offset, size)) return TENSORPATCH_BEYOND_END;
  return flash->read(flash->context, area.offset + offset, data, size) == 0 ? 0 : FAILED;
}

static int read_old(void* context, uint32_t component, uint64_t offset, uint8_t* data,
                    size_t size) {
  const tensorpatch_flash_storage* storage = (const tensorpatch_flash_storage*)context;
  return read_area(storage->old_flash, storage->old_areas[component], offset, data, size);
}

static int program_new(const tensorpatch_flash_storage* storage, uint32_t component,
                       uint64_t offset, const uint8_t* data, size_t size) {
  const tensorpatch_flash* flash = storage->new_flash;
  return flash->program(flash->context, storage->new_areas[component].offset + offset, data, size);
}

/* Programs the last word, filled up: at a new file's end only. */
static int flush(tensorpatch_flash_storage* storage) {
  const uint32_t filled = storage->word_filled;
  const size_t word = storage->new_flash->write_size;
  if (filled == 0) return 0;
  storage->word_filled = 0;
  memset(storage->word + filled, storage->new_flash->erased_value, word - filled);
  return program_new(storage, storage->word_component, storage->word_offset, storage->word, word);
}

/* Takes what fits into the word that is being filled; programs it when it is full. */
static int fill_word(tensorpatch_flash_storage* storage, const uint8_t* data, size_t size,
                     size_t* taken) {
  const size_t room = storage->new_flash->write_size - storage->word_filled;
  *taken = size < room ? size : room;
  memcpy(storage->word + storage->word_filled, data, *taken);
  storage->word_filled += (uint32_t)*taken;
  return *taken == room ? flush(storage) : 0;
}

static int write_new(void* context, uint32_t component, uint64_t offset, const uint8_t* data,
                     size_t size) {
  tensorpatch_flash_storage* storage = (tensorpatch_flash_storage*)context;
  const size_t word = storage->new_flash->write_size;
  size_t count = 0;
  if (!is_inside(storage->new_areas[component], offset, size)) return FAILED;
  if (storage->word_filled != 0 && component == storage->word_component &&
      offset == storage->word_offset + storage->word_filled) {
    if (fill_word(storage, data, size, &count) != 0) return FAILED;
  } else if (flush(storage) != 0 || offset % word != 0) {
    return FAILED;
  }
  data += count;
  size -= count;
  offset += count;
  count = size - size % word;
  if (count != 0 && program_new(storage, component, offset, data, count) != 0) return FAILED;
  if (count == size) return 0;
  storage->word_component = component;
  storage->word_offset = offset + count;
  return fill_word(storage, data + count, size - count, &count);
}

static int read_new(void* context, uint32_t component, uint64_t offset, uint8_t* data,
                    size_t size) {
  tensorpatch_flash_storage* storage = (tensorpatch_flash_storage*)context;
  /* In place old is read in between. */
  const int overlaps = component == storage->word_component &&
                       offset < storage->word_offset + storage->word_filled &&
                       offset + size > storage->word_offset;
  if (overlaps && flush(storage) != 0) return FAILED;
  return read_area(storage->new_flash, storage->new_areas[component], offset, data, size);
}

/* A bundle's erase size may be several pages; the last of them may lie behind the area. */
static int erase(void* context, uint32_t component, uint64_t offset, uint64_t size) {
  const tensorpatch_flash_storage* storage = (const tensorpatch_flash_storage*)context;
  const tensorpatch_flash* flash = storage->new_flash;
  const tensorpatch_flash_area area = storage->new_areas[component];
  if (offset >= area.size || ((offset | size) & (flash->page_size - 1)) != 0) return FAILED;
  if (size > area.size - offset) size = area.size - offset;
  return flash->erase(flash->context, area.offset + offset, size);
}

static int save_checkpoint(void* context, const uint8_t record[TENSORPATCH_CHECKPOINT_SIZE]) {
  tensorpatch_flash_storage* storage = (tensorpatch_flash_storage*)context;
  if (flush(storage) != 0) return FAILED;
  return tensorpatch_flash_log_save(storage->checkpoints, record, TENSORPATCH_CHECKPOINT_SIZE);
}

int tensorpatch_flash_set_ports(tensorpatch_flash_storage* storage, tensorpatch_ports* ports) {
  size_t i;
  if (!is_valid_flash(storage->old_flash) || !is_valid_flash(storage->new_flash)) return FAILED;
  for (i = 0; i < TENSORPATCH_MAX_COMPONENTS; ++i) {
    if (!is_whole_pages(storage->new_flash, storage->new_areas[i])) return FAILED;
  }
  ports->context = storage;
  ports->read_old = read_old;
  ports->write_new = write_new;
  ports->read_new = read_new;
  ports->erase = erase;
  ports->save_checkpoint = storage->checkpoints != NULL ? save_checkpoint : NULL;
  return 0;
}
