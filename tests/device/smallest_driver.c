/* smallest_driver.c: calls what every device calls, so that the linker shows what an update costs.
 *
 * CODECS is the table's content, each entry with a comma behind it; with IN_PLACE, old and new
 * share a region, and an update that was interrupted goes on. For scripts/device_size; linking is
 * the test, it is never run.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "tensorpatch/apply.h"

int main(void);

static int hash_init(void* state) {
  (void)state;
  return 0;
}
static int hash_update(void* state, const uint8_t* data, size_t size) {
  (void)state, (void)data, (void)size;
  return 0;
}
static int hash_finish(void* state, uint8_t digest[TENSORPATCH_DIGEST_SIZE]) {
  (void)state, (void)digest;
  return 0;
}
static int verify(void* context, const tensorpatch_key* key, const uint8_t* message,
                  size_t message_size, const uint8_t* signature, size_t signature_size) {
  (void)context, (void)key, (void)message, (void)message_size, (void)signature;
  (void)signature_size;
  return -1;
}
static int read_file(void* context, uint32_t component, uint64_t offset, uint8_t* data,
                     size_t size) {
  (void)context, (void)component, (void)offset, (void)data, (void)size;
  return 0;
}
static int write_new(void* context, uint32_t component, uint64_t offset, const uint8_t* data,
                     size_t size) {
  (void)context, (void)component, (void)offset, (void)data, (void)size;
  return 0;
}

static const tensorpatch_codec* const codecs[] = {CODECS NULL};

int main(void) {
  static tensorpatch_applier applier;
  static uint64_t workspace[1024];
  static uint8_t piece[64];
  static tensorpatch_key key;
  const tensorpatch_ports ports = {.hash = {NULL, hash_init, hash_update, hash_finish},
                                   .verify = verify,
                                   .read_old = read_file,
                                   .write_new = write_new,
                                   .read_new = read_file};
#ifdef IN_PLACE
  static const tensorpatch_region region = {.method = &tensorpatch_in_place_method};
  static const uint8_t record[TENSORPATCH_CHECKPOINT_SIZE];
#endif
  const tensorpatch_options options = {.keys = &key,
                                       .key_count = 1,
                                       .threshold = 1,
                                       .codecs = codecs,
#ifdef IN_PLACE
                                       .region = &region,
#endif
                                       .codec_count = sizeof codecs / sizeof *codecs - 1};
  size_t consumed = 0;
  tensorpatch_status status =
      tensorpatch_apply_init(&applier, workspace, sizeof workspace, &ports, &options);
#ifdef IN_PLACE
  status = tensorpatch_apply_resume(&applier, record);
#endif
  while (status < TENSORPATCH_E_ARGUMENT) {
    status = tensorpatch_apply_push(&applier, piece, sizeof piece, &consumed);
  }
  return tensorpatch_apply_finish(&applier) == TENSORPATCH_DONE ? 0 : 1;
}
