/* tensorpatch/ports/posix.h: files as storage for tensorpatch_ports, on POSIX systems.
 *
 * Open the files, fill in the storage callbacks, apply, sync, close. The checkpoint is a file of
 * TENSORPATCH_CHECKPOINT_SIZE bytes that is always whole: written beside its path under the name
 * PATH.tmp and renamed. Functions return 0, or -1 with errno set.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TENSORPATCH_PORTS_POSIX_H
#define TENSORPATCH_PORTS_POSIX_H

#include "tensorpatch/apply.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tensorpatch_posix_files {
  int old_files[TENSORPATCH_MAX_COMPONENTS]; /* file descriptors, -1: none */
  int new_files[TENSORPATCH_MAX_COMPONENTS];
  const char* checkpoint_path; /* NULL: no checkpoints; the string stays the caller's */
} tensorpatch_posix_files;

/* What happens to a new file's content when it is opened. */
typedef enum tensorpatch_posix_content {
  TENSORPATCH_POSIX_TRUNCATE, /* a new update begins */
  TENSORPATCH_POSIX_KEEP      /* an interrupted one goes on */
} tensorpatch_posix_content;

/* All files closed, no checkpoint. */
void tensorpatch_posix_init(tensorpatch_posix_files* files);

int tensorpatch_posix_open_old(tensorpatch_posix_files* files, uint32_t component,
                               const char* path);

/* Opens or creates the file that a component's new bytes go to. */
int tensorpatch_posix_open_new(tensorpatch_posix_files* files, uint32_t component, const char* path,
                               tensorpatch_posix_content content);

/* Sets context, read_old, write_new, read_new and, with a checkpoint path, save_checkpoint. */
void tensorpatch_posix_set_ports(tensorpatch_posix_files* files, tensorpatch_ports* ports);

/* Brings what was written to the disk; before the new files are renamed or used. */
int tensorpatch_posix_sync(const tensorpatch_posix_files* files);

void tensorpatch_posix_close(tensorpatch_posix_files* files);

/* Reads a checkpoint file. -1 with ENOENT when there is none, EINVAL when it has another size. */
int tensorpatch_posix_load_checkpoint(const char* path,
                                      uint8_t record[TENSORPATCH_CHECKPOINT_SIZE]);

/* A record of any size, kept like the checkpoint. `path` is a char*: the two fit into
 * tensorpatch_slots_store. Load returns 1 when there is no such file. */
int tensorpatch_posix_record_load(void* path, uint8_t* data, size_t size);
int tensorpatch_posix_record_save(void* path, const uint8_t* data, size_t size);

#ifdef __cplusplus
}
#endif

#endif /* TENSORPATCH_PORTS_POSIX_H */
