/* linux_apply.c: applies a bundle to a file with the device library alone: no toolkit, no C++.
 *
 * usage: linux_apply OLD BUNDLE NEW
 * The bundle is read once, front to back, so that it could be a socket. NEW appears whole or not at
 * all. A product also hands in its last update's sequence as the floor. For mcu-256k and below.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "tensorpatch/apply.h"
#include "tensorpatch/ports/libsodium.h"
#include "tensorpatch/ports/posix.h"

static const tensorpatch_key keys[] = {
#include RELEASE_KEY /* what `tensorpatch pubkey --format c` printed, as in firmware */
};
static const tensorpatch_codec* codecs[] = {&tensorpatch_codec_values, &tensorpatch_codec_bytes};
static const tensorpatch_options options = {.keys = keys,
                                            .key_count = sizeof keys / sizeof *keys,
                                            .threshold = 1,
                                            .codecs = codecs,
                                            .codec_count = sizeof codecs / sizeof *codecs,
                                            .capacity = {64 << 20}};

static tensorpatch_status apply(FILE* bundle, tensorpatch_posix_files* files) {
  static tensorpatch_applier applier;
  static uint64_t workspace[(256 << 10) / sizeof(uint64_t)];
  tensorpatch_libsodium_hash hash;
  tensorpatch_ports ports = {.hash = tensorpatch_libsodium_hash_port(&hash),
                             .verify = tensorpatch_libsodium_verify};
  uint8_t piece[4096];
  size_t size, consumed;
  tensorpatch_posix_set_ports(files, &ports);
  tensorpatch_status status =
      tensorpatch_apply_init(&applier, workspace, sizeof workspace, &ports, &options);
  while (status <= TENSORPATCH_MORE && (size = fread(piece, 1, sizeof piece, bundle)) != 0) {
    status = tensorpatch_apply_push(&applier, piece, size, &consumed); /* no work limit: all */
  }
  return status <= TENSORPATCH_MORE ? tensorpatch_apply_finish(&applier) : status;
}

int main(int count, char** arguments) {
  char part[4096];
  tensorpatch_posix_files files;
  tensorpatch_status status = TENSORPATCH_E_IO;
  FILE* bundle = count == 4 ? fopen(arguments[2], "rb") : NULL;
  tensorpatch_posix_init(&files);
  if (bundle != NULL && snprintf(part, sizeof part, "%s.part", arguments[3]) < (int)sizeof part &&
      tensorpatch_posix_open_old(&files, 0, arguments[1]) == 0 &&
      tensorpatch_posix_open_new(&files, 0, part, TENSORPATCH_POSIX_TRUNCATE) == 0) {
    status = apply(bundle, &files);
    if (status == TENSORPATCH_DONE &&
        (tensorpatch_posix_sync(&files) != 0 || rename(part, arguments[3]) != 0)) {
      status = TENSORPATCH_E_IO;
    }
    if (status != TENSORPATCH_DONE) remove(part);
  }
  tensorpatch_posix_close(&files);
  fprintf(stderr, "linux_apply: %s\n", tensorpatch_status_text(status));
  return status == TENSORPATCH_DONE || status == TENSORPATCH_ALREADY_NEW ? 0 : 1;
}
