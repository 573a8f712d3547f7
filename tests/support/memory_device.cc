// tests/support/memory_device.cc: see memory_device.h.
// SPDX-License-Identifier: Apache-2.0
#include "support/memory_device.h"

#include <algorithm>

namespace tensorpatch::test {
namespace {

int read_from(const std::vector<Bytes>& files, uint32_t component, uint64_t offset, uint8_t* data,
              size_t size) {
  if (component >= files.size()) return -1;
  const Bytes& file = files[component];
  if (offset > file.size() || size > file.size() - offset) return TENSORPATCH_BEYOND_END;
  std::copy_n(file.begin() + static_cast<std::ptrdiff_t>(offset), size, data);
  return 0;
}

}  // namespace

struct MemoryDevice::Callbacks {
  static MemoryDevice& self(void* context) { return *static_cast<MemoryDevice*>(context); }

  static int hash_init(void* state) {
    MemoryDevice& d = self(state);
    return d.fails() ? -1 : d.inner_hash_.init(d.inner_hash_.state);
  }
  static int hash_update(void* state, const uint8_t* data, size_t size) {
    MemoryDevice& d = self(state);
    return d.fails() ? -1 : d.inner_hash_.update(d.inner_hash_.state, data, size);
  }
  static int hash_finish(void* state, uint8_t digest[TENSORPATCH_DIGEST_SIZE]) {
    MemoryDevice& d = self(state);
    return d.fails() ? -1 : d.inner_hash_.finish(d.inner_hash_.state, digest);
  }
  static int verify(void* context, const tensorpatch_key* key, const uint8_t* message,
                    size_t message_size, const uint8_t* signature, size_t signature_size) {
    MemoryDevice& d = self(context);
    if (d.fails()) return -1;
    if (d.any_signature) return 0;
    return d.verify(nullptr, key, message, message_size, signature, signature_size);
  }
  static int read_old(void* context, uint32_t component, uint64_t offset, uint8_t* data,
                      size_t size) {
    MemoryDevice& d = self(context);
    ++d.read_old_count;
    return d.fails() ? -1 : read_from(d.old_files, component, offset, data, size);
  }
  static int read_new(void* context, uint32_t component, uint64_t offset, uint8_t* data,
                      size_t size) {
    MemoryDevice& d = self(context);
    return d.fails() ? -1 : read_from(d.places, component, offset, data, size);
  }
  static int write_new(void* context, uint32_t component, uint64_t offset, const uint8_t* data,
                       size_t size);
  static int erase(void* context, uint32_t component, uint64_t offset, uint64_t size);
  static int save_checkpoint(void* context, const uint8_t record[TENSORPATCH_CHECKPOINT_SIZE]) {
    MemoryDevice& d = self(context);
    if (d.fails()) return -1;
    d.checkpoint.emplace();
    std::copy_n(record, TENSORPATCH_CHECKPOINT_SIZE, d.checkpoint->begin());
    return 0;
  }
};

int MemoryDevice::Callbacks::write_new(void* context, uint32_t component, uint64_t offset,
                                       const uint8_t* data, size_t size) {
  MemoryDevice& d = self(context);
  const bool torn = d.fails();  // half of it reaches storage
  if (torn) size /= 2;
  if (component >= d.places.size() || (size == 0 && !torn) || offset > d.places[component].size() ||
      size > d.places[component].size() - offset) {
    d.misuse = "write outside of the place";
    return -1;
  }
  if (offset % d.write_size != 0) d.misuse = "write at no multiple of the write size";
  ++d.write_count;
  for (size_t i = 0; i < size; ++i) {
    if (d.erases && !d.erased_[component][offset + i]) d.misuse = "write into bytes not erased";
    d.erased_[component][offset + i] = false;
    d.places[component][offset + i] = data[i];
  }
  if (d.write_count == d.corrupt_write_at) d.places[component][offset] ^= 0x10;
  if (d.cancel_in_write != nullptr) tensorpatch_apply_cancel(d.cancel_in_write);
  return torn ? -1 : 0;
}

int MemoryDevice::Callbacks::erase(void* context, uint32_t component, uint64_t offset,
                                   uint64_t size) {
  MemoryDevice& d = self(context);
  if (d.fails()) return -1;
  if (offset % d.erase_size != 0 || size % d.erase_size != 0 || size == 0) {
    d.misuse = "erase of no whole pages";
  }
  if (component >= d.places.size() || offset > d.places[component].size() ||
      size > d.places[component].size() - offset) {
    d.misuse = "erase outside of the place";
    return -1;
  }
  ++d.erase_count;
  for (uint64_t i = offset; i < offset + size; ++i) {
    d.places[component][i] = 0xFF;
    d.erased_[component][i] = true;
  }
  return 0;
}

MemoryDevice::MemoryDevice(std::vector<Bytes> olds, size_t place_size)
    : old_files(std::move(olds)),
      places(TENSORPATCH_MAX_COMPONENTS, Bytes(place_size, kUntouched)),
      erased_(TENSORPATCH_MAX_COMPONENTS, std::vector<bool>(place_size, false)) {}

tensorpatch_ports MemoryDevice::ports() {
  inner_hash_ = tensorpatch_libsodium_hash_port(&hash_);
  tensorpatch_ports ports{};
  ports.context = this;
  ports.hash = {this, Callbacks::hash_init, Callbacks::hash_update, Callbacks::hash_finish};
  ports.verify = Callbacks::verify;
  ports.read_old = Callbacks::read_old;
  if (!verify_only) ports.write_new = Callbacks::write_new;
  if (!verify_only) ports.read_new = Callbacks::read_new;
  if (erases) ports.erase = Callbacks::erase;
  if (saves_checkpoints) ports.save_checkpoint = Callbacks::save_checkpoint;
  return ports;
}

bool MemoryDevice::holds_only_prefix_of(size_t component, const Bytes& wanted) const {
  const Bytes& place = places[component];
  size_t same = 0;
  while (same < wanted.size() && same < place.size() && place[same] == wanted[same]) ++same;
  return std::all_of(
      place.begin() + static_cast<std::ptrdiff_t>(same), place.end(),
      [this](uint8_t byte) { return byte == kUntouched || (erases && byte == 0xFF); });
}

TestApplier::TestApplier(MemoryDevice& device, const ApplySetup& setup)
    : setup_(setup), workspace_((setup.workspace_size + 7) / 8) {
  options_.keys = setup_.ring.data();
  options_.key_count = setup_.ring.size();
  options_.threshold = setup_.threshold;
  options_.codecs = setup_.codecs.data();
  options_.codec_count = setup_.codecs.size();
  options_.device_class = setup_.device_class ? setup_.device_class->data() : nullptr;
  options_.sequence_floor = setup_.sequence_floor;
  options_.security_version_floor = setup_.security_version_floor;
  for (size_t i = 0; i < TENSORPATCH_MAX_COMPONENTS; ++i) {
    options_.capacity[i] = setup_.capacity.value_or(device.places[i].size());
  }
  options_.accept = setup_.accept;
  options_.region = setup_.region;
  options_.work_limit = setup_.work_limit;
  const tensorpatch_ports ports = device.ports();
  init_status_ = tensorpatch_apply_init(&applier_, workspace_.data(), setup_.workspace_size, &ports,
                                        &options_);
}

tensorpatch_status TestApplier::apply(const Bytes& bundle, size_t bite) {
  if (init_status_ != TENSORPATCH_OK) return init_status_;
  while (true) {
    const uint64_t offset = tensorpatch_apply_next_offset(&applier_);
    if (offset >= bundle.size()) {  // in place finish goes back to the blocks once
      const tensorpatch_status status = tensorpatch_apply_finish(&applier_);
      if (status != TENSORPATCH_MORE) return status;
      continue;
    }
    size_t size = bundle.size() - static_cast<size_t>(offset);
    if (bite != 0) size = std::min(size, bite);
    // A copy, so that a sanitizer sees reads behind the bite.
    const auto from = bundle.begin() + static_cast<std::ptrdiff_t>(offset);
    const Bytes piece(from, from + static_cast<std::ptrdiff_t>(size));
    size_t consumed = 0;
    const tensorpatch_status status =
        tensorpatch_apply_push(&applier_, piece.data(), piece.size(), &consumed);
    ++pushes;
    most_consumed = std::max<uint64_t>(most_consumed, consumed);
    // DONE with bytes left over would be a mistake: those bytes are pushed again.
    if (status >= TENSORPATCH_E_ARGUMENT || status == TENSORPATCH_ALREADY_NEW) return status;
  }
}

tensorpatch_status TestApplier::resume(const Bytes& bundle, const Record& record, size_t bite) {
  if (init_status_ != TENSORPATCH_OK) return init_status_;
  const tensorpatch_status status = tensorpatch_apply_resume(&applier_, record.data());
  return status != TENSORPATCH_OK ? status : apply(bundle, bite);
}

}  // namespace tensorpatch::test
