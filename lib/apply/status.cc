// status.cc: the names of the status codes, for people.
// SPDX-License-Identifier: Apache-2.0
#include "tensorpatch/apply.h"

// One line for each code is no complexity. NOLINTNEXTLINE(readability-function-size)
extern "C" const char* tensorpatch_status_text(tensorpatch_status status) {
  switch (status) {
    case TENSORPATCH_OK:
      return "ok";
    case TENSORPATCH_MORE:
      return "more to do";
    case TENSORPATCH_DONE:
      return "done";
    case TENSORPATCH_ALREADY_NEW:
      return "already new";
    case TENSORPATCH_E_ARGUMENT:
      return "wrong argument";
    case TENSORPATCH_E_STATE:
      return "call in the wrong order";
    case TENSORPATCH_E_CANCELLED:
      return "cancelled";
    case TENSORPATCH_E_FORMAT:
      return "malformed bundle";
    case TENSORPATCH_E_VERSION:
      return "unknown version or required flag";
    case TENSORPATCH_E_CODEC:
      return "unknown codec";
    case TENSORPATCH_E_TRUNCATED:
      return "bundle ends too early";
    case TENSORPATCH_E_TRAILING:
      return "bytes after the end of the bundle";
    case TENSORPATCH_E_SIGNATURE:
      return "wrong signature";
    case TENSORPATCH_E_UNTRUSTED:
      return "not enough signatures by known keys";
    case TENSORPATCH_E_DIGEST:
      return "damaged bundle";
    case TENSORPATCH_E_SEQUENCE:
      return "sequence below the floor";
    case TENSORPATCH_E_SECURITY_VERSION:
      return "security version below the floor";
    case TENSORPATCH_E_DEVICE_CLASS:
      return "for another device class";
    case TENSORPATCH_E_UNDO:
      return "undo is not accepted now";
    case TENSORPATCH_E_OLD:
      return "wrong old file";
    case TENSORPATCH_E_WORKSPACE:
      return "workspace too small";
    case TENSORPATCH_E_CAPACITY:
      return "new file too large for its place";
    case TENSORPATCH_E_IN_PLACE:
      return "not made to be applied in place";
    case TENSORPATCH_E_READ_OLD:
      return "cannot read the old file";
    case TENSORPATCH_E_WRITE_NEW:
      return "cannot write the new file";
    case TENSORPATCH_E_READ_NEW:
      return "cannot read the new file back";
    case TENSORPATCH_E_ERASE:
      return "cannot erase";
    case TENSORPATCH_E_HASH:
      return "cannot compute a digest";
    case TENSORPATCH_E_SAVE_CHECKPOINT:
      return "cannot save the checkpoint";
    case TENSORPATCH_E_NEW:
      return "storage does not hold the new file";
    case TENSORPATCH_E_CHECKPOINT:
      return "unusable checkpoint";
    case TENSORPATCH_E_IO:
      return "input or output error";
    case TENSORPATCH_E_EXISTS:
      return "output exists";
    case TENSORPATCH_E_USAGE:
      return "wrong usage";
    case TENSORPATCH_E_KEY:
      return "unusable key";
    case TENSORPATCH_E_INTERRUPTED:
      return "interrupted";
    case TENSORPATCH_E_SELF_CHECK:
      return "self-check failed";
    case TENSORPATCH_E_LIMIT:
      return "beyond a limit";
    case TENSORPATCH_E_SIGNER:
      return "signer failed";
  }
  return "unknown status";
}
