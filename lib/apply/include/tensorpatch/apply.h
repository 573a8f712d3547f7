/* tensorpatch/apply.h: the device side of tensorpatch, in C99.
 *
 * Turns an old model file and the bytes of a bundle, fed in pieces of any size, into the new file.
 * No byte is decoded before the block that holds it has been authenticated; nothing is written
 * before every old file has been checked; DONE means that the new file was read back from storage
 * and its digest is right.
 *
 * Memory: none is allocated. The caller gives an applier object, a workspace and the hash state,
 * and keeps all of them alive and in place from tensorpatch_apply_init to the last call. The size
 * of the workspace is a number that the bundle declares (tensorpatch_peek tells it from the first
 * bytes).
 *
 * Calls: init, then push until it returns TENSORPATCH_DONE (or ALREADY_NEW) or an error (>= 16).
 * After an error the applier stays failed and answers every call with the same status.
 * An applier is not thread-safe; different appliers share nothing.
 *
 * Units: offsets and sizes are bytes. Format: docs/FORMAT.md. Porting: lib/apply/README.md.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TENSORPATCH_APPLY_H
#define TENSORPATCH_APPLY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One list for the device and the host. Values are pinned, never used again for another meaning. */
typedef enum tensorpatch_status {
  TENSORPATCH_OK = 0,
  /* Not errors. */
  TENSORPATCH_MORE = 1, /* all given bytes are consumed, or the work limit is reached: call again */
  TENSORPATCH_DONE = 2, /* every new file is right, as read back from storage */
  TENSORPATCH_ALREADY_NEW = 3, /* every old file already equals its new one; nothing was written */
  /* The caller. */
  TENSORPATCH_E_ARGUMENT = 16, /* a null pointer, a size of zero, a field out of range */
  TENSORPATCH_E_STATE = 17,    /* a call in the wrong order */
  TENSORPATCH_E_CANCELLED = 18,
  /* The bytes of the bundle. */
  TENSORPATCH_E_FORMAT = 32,    /* malformed */
  TENSORPATCH_E_VERSION = 33,   /* unknown major version or required flag */
  TENSORPATCH_E_CODEC = 34,     /* needs a codec that is unknown or not given to init */
  TENSORPATCH_E_TRUNCATED = 35, /* the bundle ended too early */
  TENSORPATCH_E_TRAILING = 36,  /* bytes after the end */
  /* Trust. */
  TENSORPATCH_E_SIGNATURE = 48, /* a signature by a known key does not verify */
  TENSORPATCH_E_UNTRUSTED = 49, /* fewer valid signatures by known keys than the threshold */
  TENSORPATCH_E_DIGEST = 50,    /* a block or the manifest is not what the statement promised, or
                                   in place what the blocks make is not new */
  TENSORPATCH_E_SEQUENCE = 51,  /* sequence is below the floor */
  TENSORPATCH_E_SECURITY_VERSION = 52,
  TENSORPATCH_E_DEVICE_CLASS = 53,
  TENSORPATCH_E_UNDO = 54, /* leads back, which this device does not accept now */
  /* The old file. */
  TENSORPATCH_E_OLD = 64, /* not the file that the bundle was made from */
  /* Limits of this device. */
  TENSORPATCH_E_WORKSPACE = 80, /* the workspace is smaller than the bundle declares */
  TENSORPATCH_E_CAPACITY = 81,  /* the new file is larger than its place */
  TENSORPATCH_E_IN_PLACE = 82,  /* not made to be applied in place */
  /* Storage and ports. */
  TENSORPATCH_E_READ_OLD = 96,
  TENSORPATCH_E_WRITE_NEW = 97,
  TENSORPATCH_E_READ_NEW = 98,
  TENSORPATCH_E_ERASE = 99,
  TENSORPATCH_E_HASH = 100,
  TENSORPATCH_E_SAVE_CHECKPOINT = 101,
  TENSORPATCH_E_NEW = 102,        /* storage does not hold what was written */
  TENSORPATCH_E_CHECKPOINT = 103, /* the record is damaged or belongs to another bundle */
  /* Host only (toolkit and program). */
  TENSORPATCH_E_IO = 128,     /* a file cannot be opened, read or written */
  TENSORPATCH_E_EXISTS = 129, /* the output exists and --force was not given */
  TENSORPATCH_E_USAGE = 130,  /* options that cannot go together, names out of range */
  TENSORPATCH_E_KEY = 131,    /* a key file that cannot be read, or an unsupported kind of key */
  TENSORPATCH_E_INTERRUPTED = 132, /* the input ended early; a checkpoint was kept */
  TENSORPATCH_E_SELF_CHECK = 133, /* a bundle just made did not rebuild the new file: our mistake */
  TENSORPATCH_E_LIMIT = 134,      /* the input is beyond a documented limit of the toolkit */
  TENSORPATCH_E_SIGNER = 135      /* the external signer failed or made a wrong signature */
} tensorpatch_status;

/* The status's name in lower case, such as "wrong old file"; never NULL. */
const char* tensorpatch_status_text(tensorpatch_status status);

enum {
  TENSORPATCH_DIGEST_SIZE = 32, /* SHA-256 */
  TENSORPATCH_KEY_ID_SIZE = 32, /* SHA-256 of the SubjectPublicKeyInfo DER */
  TENSORPATCH_MAX_COMPONENTS = 6,
  TENSORPATCH_MAX_SIGNATURES = 8,
  TENSORPATCH_MAX_STATEMENT_SIZE = 896,
  TENSORPATCH_MAX_MESSAGE_SIZE = 1024, /* signed bytes: the statement in DSSE framing */
  TENSORPATCH_CHECKPOINT_SIZE = 128,
  TENSORPATCH_PEEK_SIZE = 144,    /* most first bytes of a bundle that tensorpatch_peek needs */
  TENSORPATCH_APPLIER_WORDS = 128 /* size of tensorpatch_applier in 8-byte words */
};

enum tensorpatch_algorithm {
  TENSORPATCH_ED25519 = 1,
  TENSORPATCH_ECDSA_P256_SHA256 = 2, /* signatures: r, then s, 32 bytes each */
  TENSORPATCH_ML_DSA = 3             /* reserved */
};

enum tensorpatch_role { TENSORPATCH_ROLE_RELEASE = 1 };

/* A key of the device's ring. Key ids in a bundle are hints: the algorithm and the role are those
 * of the ring's entry. Public data; the arrays stay the caller's. */
typedef struct tensorpatch_key {
  uint16_t algorithm; /* enum tensorpatch_algorithm */
  uint16_t role;      /* enum tensorpatch_role */
  uint8_t id[TENSORPATCH_KEY_ID_SIZE];
  const uint8_t* public_key; /* Ed25519: 32 bytes; P-256: 65, 0x04 and the point's x and y */
  size_t public_key_size;
} tensorpatch_key;

/* SHA-256 by the caller's library or hardware. Each function returns 0, or anything else to fail.
 * One digest is computed at a time. */
typedef struct tensorpatch_hash_port {
  void* state; /* the caller's, as large as its library needs */
  int (*init)(void* state);
  int (*update)(void* state, const uint8_t* data, size_t size);
  int (*finish)(void* state, uint8_t digest[TENSORPATCH_DIGEST_SIZE]);
} tensorpatch_hash_port;

enum { TENSORPATCH_BEYOND_END = 1 }; /* read_old's answer that means "not this file" */

/* The caller's storage and cryptography. Each callback returns 0, or anything else to stop the
 * update. `component` is the index of a component in the bundle, 0-based. */
typedef struct tensorpatch_ports {
  void* context; /* handed to every callback */
  tensorpatch_hash_port hash;
  /* 0 only when `signature` over `message` is right for `key`. */
  int (*verify)(void* context, const tensorpatch_key* key, const uint8_t* message,
                size_t message_size, const uint8_t* signature, size_t signature_size);
  /* Reads exactly `size` bytes of an old file; TENSORPATCH_BEYOND_END when it is too short. */
  int (*read_old)(void* context, uint32_t component, uint64_t offset, uint8_t* data, size_t size);
  /* Writes a piece of a new file. Offsets ascend without gaps; every offset is a multiple of the
   * profile's write size. NULL: verify only, nothing is written or read back. */
  int (*write_new)(void* context, uint32_t component, uint64_t offset, const uint8_t* data,
                   size_t size);
  /* Reads back what write_new wrote. Required with write_new. */
  int (*read_new)(void* context, uint32_t component, uint64_t offset, uint8_t* data, size_t size);
  /* Makes a range ready for write_new; offset and size are multiples of the profile's erase size,
   * and the last range may reach beyond the new file's end. May be NULL. */
  int (*erase)(void* context, uint32_t component, uint64_t offset, uint64_t size);
  /* Stores a checkpoint, replacing the one before. All that write_new got so far must reach storage
   * before this returns. May be NULL. */
  int (*save_checkpoint)(void* context, const uint8_t record[TENSORPATCH_CHECKPOINT_SIZE]);
} tensorpatch_ports;

/* A decoder of one kind of data; entries of the table handed to init, so that the linker drops
 * those that are not named. Opaque: use the objects below or those of lib/ports. */
typedef struct tensorpatch_codec tensorpatch_codec;
extern const tensorpatch_codec tensorpatch_codec_values;       /* all of tensor values */
extern const tensorpatch_codec tensorpatch_codec_values_small; /* level S, no predictors */
extern const tensorpatch_codec tensorpatch_codec_bytes;        /* all of literal bytes */
extern const tensorpatch_codec tensorpatch_codec_bytes_small;  /* small tables only */

/* Updating in place: old and new share one region of storage, and what is left of old when new is
 * complete does not matter. Only for bundles that were packed for it (`pack --in-place`); others
 * are refused with E_IN_PLACE. The ports read_new, write_new and erase then take offsets in the
 * region, read_old is not used, and save_checkpoint is required. The whole bundle must be in local
 * storage, since it is read twice: tensorpatch_apply_next_offset jumps back after everything has
 * been decoded once without a write. lib/apply/README.md tells the order of events. */
typedef struct tensorpatch_in_place tensorpatch_in_place;      /* opaque */
extern const tensorpatch_in_place tensorpatch_in_place_method; /* drops out if it is not named */

typedef struct tensorpatch_region {
  const tensorpatch_in_place* method; /* &tensorpatch_in_place_method */
  uint64_t size;                      /* bytes; a multiple of the erase size */
  uint64_t old_offset;                /* where old begins; a multiple of the erase size */
  tensorpatch_hash_port hash;         /* a second state: of new, while blocks use the first one */
} tensorpatch_region;

enum tensorpatch_accept {
  TENSORPATCH_ACCEPT_UNDO = 1 /* bundles that lead back: while an update is on trial, or on a local
                                 command. The floors hold for them too */
};

/* Reports how far an update is; cheap. */
typedef struct tensorpatch_progress {
  uint64_t consumed;  /* bytes of the bundle */
  uint64_t done;      /* bytes of old checked, new written and new read back, all components */
  uint64_t total;     /* what `done` will be at the end; 0 until the statement is trusted */
  uint32_t component; /* being written */
} tensorpatch_progress;

/* What init needs to know of the device. Pointers stay the caller's and must live as long as the
 * applier. */
typedef struct tensorpatch_options {
  const tensorpatch_key* keys;
  size_t key_count;
  uint32_t threshold; /* valid signatures by different keys that are needed, >= 1 */
  const tensorpatch_codec* const* codecs;
  size_t codec_count;
  const uint8_t* device_class; /* 16 bytes; NULL: accept only bundles that name no class */
  uint64_t sequence_floor;     /* bundles below are refused */
  uint32_t security_version_floor;
  uint64_t capacity[TENSORPATCH_MAX_COMPONENTS]; /* bytes that each new file's place can hold */
  const tensorpatch_region* region;              /* NULL: new is written beside old */
  uint32_t accept;                               /* set of enum tensorpatch_accept */
  size_t work_limit; /* bytes hashed, copied or decoded before push returns; 0: no limit */
} tensorpatch_options;

/* The state of one update. Contents are private; declare it static or on the heap. */
typedef struct tensorpatch_applier {
  uint64_t private_state[TENSORPATCH_APPLIER_WORDS];
} tensorpatch_applier;

/* Facts of a bundle before anything is trusted: to choose a workspace, never to decide on trust. */
typedef struct tensorpatch_summary {
  uint32_t workspace_size; /* bytes that tensorpatch_apply_init must be given, 8-byte aligned */
  uint32_t component_count;
  uint32_t required_codecs; /* bit set of codec ids */
  uint8_t zstd_window_log2; /* of the largest zstd frame; 0: none */
} tensorpatch_summary;

/* Looks at the first bytes of a bundle, TENSORPATCH_PEEK_SIZE at most. OK, E_TRUNCATED, E_FORMAT or
 * E_VERSION. */
tensorpatch_status tensorpatch_peek(const uint8_t* data, size_t size, tensorpatch_summary* summary);

/* Begins an update. `workspace` is 8-byte aligned. Nothing is read or written yet. */
tensorpatch_status tensorpatch_apply_init(tensorpatch_applier* applier, void* workspace,
                                          size_t workspace_size, const tensorpatch_ports* ports,
                                          const tensorpatch_options* options);

/* Goes on with an update that was interrupted: after init, before the first push. `record` is what
 * save_checkpoint stored last. Then push the bundle from its start, as at first: statement,
 * signatures, manifest and old files are verified again. After the manifest
 * tensorpatch_apply_next_offset jumps forward to the block that the checkpoint names; push from
 * there. So a device that streams keeps the bundle's first bytes (up to the first block) with the
 * record and downloads only the rest. */
tensorpatch_status tensorpatch_apply_resume(tensorpatch_applier* applier,
                                            const uint8_t record[TENSORPATCH_CHECKPOINT_SIZE]);

/* Feeds the next bytes of the bundle. *consumed tells how many were taken. With MORE and *consumed
 * < size the work limit was reached: call again with the rest. size may be 0 to go on working. */
tensorpatch_status tensorpatch_apply_push(tensorpatch_applier* applier, const uint8_t* data,
                                          size_t size, size_t* consumed);

/* Says that the bundle has no more bytes: DONE, ALREADY_NEW, E_TRUNCATED, or the earlier error.
 * MORE: call again, or push on where tensorpatch_apply_next_offset has jumped to. */
tensorpatch_status tensorpatch_apply_finish(tensorpatch_applier* applier);

/* The offset in the bundle of the byte that push wants next. */
uint64_t tensorpatch_apply_next_offset(const tensorpatch_applier* applier);

/* Makes the next push return E_CANCELLED. The only call that may come from a callback. */
void tensorpatch_apply_cancel(tensorpatch_applier* applier);

void tensorpatch_apply_progress(const tensorpatch_applier* applier, tensorpatch_progress* progress);

#ifdef __cplusplus
}
#endif

#endif /* TENSORPATCH_APPLY_H */
