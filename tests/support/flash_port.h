// tests/support/flash_port.h: simulated flash as the flash of lib/ports.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "support/flash_simulator.h"
#include "tensorpatch/ports/flash.h"

namespace tensorpatch::test {

// Points to the simulator.
inline tensorpatch_flash flash_port(FlashSimulator& flash) {
  const auto read = [](void* context, uint64_t offset, uint8_t* data, size_t size) {
    return static_cast<FlashSimulator*>(context)->read(offset, data, size);
  };
  const auto program = [](void* context, uint64_t offset, const uint8_t* data, size_t size) {
    return static_cast<FlashSimulator*>(context)->write(offset, data, size);
  };
  const auto erase = [](void* context, uint64_t offset, uint64_t size) {
    return static_cast<FlashSimulator*>(context)->erase(offset, size);
  };
  const FlashGeometry& geometry = flash.geometry();
  return {
      &flash, read, program, erase, geometry.page_size, geometry.write_size, geometry.erased_value};
}

}  // namespace tensorpatch::test
