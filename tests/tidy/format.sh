#!/bin/bash
# tests/tidy/format.sh: every source file is as clang-format leaves it.
#
# usage: format.sh ROOT. To repair a finding: clang-format -i FILE
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$1"
for folder in lib tools tests examples benchmarks; do
  [ ! -d "$folder" ] || find "$folder" -name "*.h" -o -name "*.cc" -o -name "*.c"
done |
  sort | xargs clang-format --dry-run --Werror
