/* linux_apply.c: applies a bundle to a file with the device library alone: no toolkit, no C++.
 *
 * usage: linux_apply OLD BUNDLE NEW
 * Reads the bundle once, front to back, so that it could be a socket as well. The key is compiled
 * in, as in firmware (release_key.inc); a product also keeps the sequence of its last update and
 * hands it in as the floor. NEW appears whole or not at all. The bundle is made with `--profile
 * mcu-256k` or smaller: larger ones need more workspace and may need the zstd port, too.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "tensorpatch/apply.h"
#include "tensorpatch/ports/libsodium.h"
#include "tensorpatch/ports/posix.h"

#ifndef RELEASE_KEY
#define RELEASE_KEY "release_key.inc" /* what `tensorpatch pubkey --format c` printed */
#endif

static const tensorpatch_key release_keys[] = {
#include RELEASE_KEY
};

static tensorpatch_status apply(FILE* bundle, tensorpatch_posix_files* files) {
  static tensorpatch_applier applier;
  static const tensorpatch_codec* const codecs[] = {&tensorpatch_codec_values,
                                                    &tensorpatch_codec_bytes};
  tensorpatch_libsodium_hash hash;
  tensorpatch_ports ports = {.hash = tensorpatch_libsodium_hash_port(&hash),
                             .verify = tensorpatch_libsodium_verify};
  const tensorpatch_options options = {.keys = release_keys,
                                       .key_count = sizeof release_keys / sizeof *release_keys,
                                       .threshold = 1,
                                       .codecs = codecs,
                                       .codec_count = sizeof codecs / sizeof *codecs,
                                       .capacity = {64 << 20}};
  const size_t workspace_size = 256 << 10;
  void* workspace = malloc(workspace_size);
  uint8_t piece[4096];
  size_t size;
  tensorpatch_status status;
  tensorpatch_posix_set_ports(files, &ports);
  status = tensorpatch_apply_init(&applier, workspace, workspace_size, &ports, &options);
  if (status == TENSORPATCH_OK) status = TENSORPATCH_MORE;
  while (status == TENSORPATCH_MORE && (size = fread(piece, 1, sizeof piece, bundle)) != 0) {
    size_t consumed = 0; /* all of them: there is no work limit */
    status = tensorpatch_apply_push(&applier, piece, size, &consumed);
  }
  if (status < TENSORPATCH_E_ARGUMENT) status = tensorpatch_apply_finish(&applier);
  free(workspace);
  return status;
}

int main(int argc, char** argv) {
  char part[4096];
  tensorpatch_posix_files files;
  tensorpatch_status status = TENSORPATCH_E_IO;
  FILE* bundle = argc == 4 ? fopen(argv[2], "rb") : NULL;
  tensorpatch_posix_init(&files);
  if (bundle != NULL && snprintf(part, sizeof part, "%s.part", argv[3]) < (int)sizeof part &&
      tensorpatch_posix_open_old(&files, 0, argv[1]) == 0 &&
      tensorpatch_posix_open_new(&files, 0, part, TENSORPATCH_POSIX_TRUNCATE) == 0) {
    status = apply(bundle, &files);
    if (status == TENSORPATCH_DONE &&
        (tensorpatch_posix_sync(&files) != 0 || rename(part, argv[3]) != 0)) {
      status = TENSORPATCH_E_IO;
    }
    if (status != TENSORPATCH_DONE) remove(part);
  }
  tensorpatch_posix_close(&files);
  if (bundle != NULL) fclose(bundle);
  fprintf(stderr, "linux_apply: %s\n", tensorpatch_status_text(status));
  return status == TENSORPATCH_DONE || status == TENSORPATCH_ALREADY_NEW ? 0 : 1;
}
