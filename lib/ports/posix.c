/* posix.c: see tensorpatch/ports/posix.h.
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64
#include "tensorpatch/ports/posix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_PATH_SIZE = 4096 };

/* Reads until `size` bytes are there; TENSORPATCH_BEYOND_END when the file ends before. */
static int read_all(int file, uint64_t offset, uint8_t* data, size_t size) {
  if (offset > (uint64_t)INT64_MAX - size) return TENSORPATCH_BEYOND_END;
  while (size != 0) {
    const ssize_t count = pread(file, data, size, (off_t)offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return -1;
    if (count == 0) return TENSORPATCH_BEYOND_END;
    data += count;
    size -= (size_t)count;
    offset += (uint64_t)count;
  }
  return 0;
}

static int write_all(int file, uint64_t offset, const uint8_t* data, size_t size) {
  if (offset > (uint64_t)INT64_MAX - size) {
    errno = EFBIG;
    return -1;
  }
  while (size != 0) {
    const ssize_t count = pwrite(file, data, size, (off_t)offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return -1;
    data += count;
    size -= (size_t)count;
    offset += (uint64_t)count;
  }
  return 0;
}

static int read_old(void* context, uint32_t component, uint64_t offset, uint8_t* data,
                    size_t size) {
  const tensorpatch_posix_files* files = (const tensorpatch_posix_files*)context;
  return read_all(files->old_files[component], offset, data, size);
}

static int write_new(void* context, uint32_t component, uint64_t offset, const uint8_t* data,
                     size_t size) {
  const tensorpatch_posix_files* files = (const tensorpatch_posix_files*)context;
  return write_all(files->new_files[component], offset, data, size);
}

static int read_new(void* context, uint32_t component, uint64_t offset, uint8_t* data,
                    size_t size) {
  const tensorpatch_posix_files* files = (const tensorpatch_posix_files*)context;
  return read_all(files->new_files[component], offset, data, size);
}

/* So that a rename survives a power cut. */
static int sync_folder_of(const char* path) {
  char folder[MAX_PATH_SIZE];
  const char* slash = strrchr(path, '/');
  size_t size = slash == NULL ? 0 : (size_t)(slash - path);
  int file;
  int result;
  if (size >= sizeof folder) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(folder, path, size);
  if (slash == NULL) folder[size++] = '.';
  if (size == 0) folder[size++] = '/';
  folder[size] = '\0';
  file = open(folder, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
  if (file < 0) return -1;
  result = fsync(file);
  close(file);
  return result;
}

static int write_synced(const char* path, const uint8_t* data, size_t size) {
  const int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  int result;
  if (file < 0) return -1;
  result = write_all(file, 0, data, size);
  if (result == 0) result = fsync(file);
  if (close(file) != 0) result = -1;
  return result;
}

static int save_record(const char* path, const uint8_t* data, size_t data_size) {
  char temporary[MAX_PATH_SIZE];
  const int size = snprintf(temporary, sizeof temporary, "%s.tmp", path);
  if (size < 0 || (size_t)size >= sizeof temporary) {
    errno = ENAMETOOLONG;
    return -1;
  }
  if (write_synced(temporary, data, data_size) != 0 || rename(temporary, path) != 0) return -1;
  return sync_folder_of(path);
}

int tensorpatch_posix_record_save(void* path, const uint8_t* data, size_t size) {
  return save_record((const char*)path, data, size);
}

static int save_checkpoint(void* context, const uint8_t record[TENSORPATCH_CHECKPOINT_SIZE]) {
  const tensorpatch_posix_files* files = (const tensorpatch_posix_files*)context;
  if (tensorpatch_posix_sync(files) != 0) return -1;
  return save_record(files->checkpoint_path, record, TENSORPATCH_CHECKPOINT_SIZE);
}

void tensorpatch_posix_init(tensorpatch_posix_files* files) {
  size_t i;
  for (i = 0; i < TENSORPATCH_MAX_COMPONENTS; ++i) {
    files->old_files[i] = -1;
    files->new_files[i] = -1;
  }
  files->checkpoint_path = NULL;
}

static int open_at(int* file, uint32_t component, const char* path, int flags) {
  int opened;
  if (component >= TENSORPATCH_MAX_COMPONENTS || file[component] >= 0) {
    errno = EINVAL;
    return -1;
  }
  do {
    opened = open(path, flags | O_CLOEXEC, 0666);
  } while (opened < 0 && errno == EINTR);
  if (opened < 0) return -1;
  file[component] = opened;
  return 0;
}

int tensorpatch_posix_open_old(tensorpatch_posix_files* files, uint32_t component,
                               const char* path) {
  return open_at(files->old_files, component, path, O_RDONLY);
}

int tensorpatch_posix_open_new(tensorpatch_posix_files* files, uint32_t component, const char* path,
                               tensorpatch_posix_content content) {
  const int truncate_flag = content == TENSORPATCH_POSIX_TRUNCATE ? O_TRUNC : 0;
  return open_at(files->new_files, component, path, O_RDWR | O_CREAT | truncate_flag);
}

void tensorpatch_posix_set_ports(tensorpatch_posix_files* files, tensorpatch_ports* ports) {
  ports->context = files;
  ports->read_old = read_old;
  ports->write_new = write_new;
  ports->read_new = read_new;
  ports->save_checkpoint = files->checkpoint_path != NULL ? save_checkpoint : NULL;
}

int tensorpatch_posix_sync(const tensorpatch_posix_files* files) {
  size_t i;
  for (i = 0; i < TENSORPATCH_MAX_COMPONENTS; ++i) {
    if (files->new_files[i] >= 0 && fsync(files->new_files[i]) != 0) return -1;
  }
  return 0;
}

static void close_one(int* file) {
  if (*file >= 0) close(*file);
  *file = -1;
}

void tensorpatch_posix_close(tensorpatch_posix_files* files) {
  size_t i;
  for (i = 0; i < TENSORPATCH_MAX_COMPONENTS; ++i) {
    close_one(&files->old_files[i]);
    close_one(&files->new_files[i]);
  }
}

static int load_record(const char* path, uint8_t* data, size_t size) {
  uint8_t extra;
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  int result;
  if (file < 0) return -1;
  result = read_all(file, 0, data, size);
  if (result == 0 && read_all(file, size, &extra, 1) == 0) {
    result = TENSORPATCH_BEYOND_END; /* too long is as wrong as too short */
  }
  close(file);
  if (result == TENSORPATCH_BEYOND_END) errno = EINVAL;
  return result == 0 ? 0 : -1;
}

int tensorpatch_posix_load_checkpoint(const char* path,
                                      uint8_t record[TENSORPATCH_CHECKPOINT_SIZE]) {
  return load_record(path, record, TENSORPATCH_CHECKPOINT_SIZE);
}

int tensorpatch_posix_record_load(void* path, uint8_t* data, size_t size) {
  if (load_record((const char*)path, data, size) == 0) return 0;
  return errno == ENOENT ? 1 : -1;
}
