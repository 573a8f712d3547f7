// model/pickle.cc: a small machine that follows pickle opcodes without making any object.
//
// Source: Python's pickletools (opcodes) and torch.serialization (persistent ids). A persistent id
// is the tuple ("storage", type, key, device, count); a tensor is _rebuild_tensor*(storage, offset,
// shape, strides, ...). Time is linear in the bytes scanned, and the number of opcodes is
// bounded.
// SPDX-License-Identifier: Apache-2.0
#include "model/pickle.h"

#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <utility>

namespace tensorpatch::model {
namespace {

constexpr size_t kMaxOpcodes = 2'000'000;  // each makes at most one value and one memo entry
constexpr size_t kMaxNameSize = 256;
constexpr unsigned kMaxNameDepth = 16;

// What follows an opcode.
enum class Argument : uint8_t {
  kNone,
  kNumber1,
  kNumber2,
  kNumber4,
  kNumber8,
  kText1,  // a size of 1 byte, then as many bytes
  kText4,
  kText8,
  kLines,  // module and name, each up to a line feed
};

enum class Action : uint8_t {
  kNothing,
  kBlank,  // pushes something that does not matter
  kNumber,
  kLong,
  kText,
  kGlobal,
  kStackGlobal,
  kMark,
  kPop,
  kPopMark,
  kDuplicate,
  kPut,
  kMemoize,
  kGet,
  kTuple,
  kTuple1,
  kTuple2,
  kTuple3,
  kBlankFromMark,
  kBlankFrom2,
  kBlankFrom3,
  kDictFromMark,
  kAppend,
  kSetItem,
  kSetItems,
  kBuild,
  kReduce,
  kPersistent,
  kStop,
};

struct Opcode {
  uint8_t code;
  Argument argument;
  Action action;
};
constexpr Opcode kOpcodes[] = {
    {'(', Argument::kNone, Action::kMark},
    {'.', Argument::kNone, Action::kStop},
    {'0', Argument::kNone, Action::kPop},
    {'1', Argument::kNone, Action::kPopMark},
    {'2', Argument::kNone, Action::kDuplicate},
    {'B', Argument::kText4, Action::kBlank},
    {'C', Argument::kText1, Action::kBlank},
    {'G', Argument::kNumber8, Action::kBlank},  // float
    {'J', Argument::kNumber4, Action::kNumber},
    {'K', Argument::kNumber1, Action::kNumber},
    {'M', Argument::kNumber2, Action::kNumber},
    {'N', Argument::kNone, Action::kBlank},
    {'Q', Argument::kNone, Action::kPersistent},
    {'R', Argument::kNone, Action::kReduce},
    {'T', Argument::kText4, Action::kText},
    {'U', Argument::kText1, Action::kText},
    {'X', Argument::kText4, Action::kText},
    {']', Argument::kNone, Action::kBlank},
    {'a', Argument::kNone, Action::kAppend},
    {'b', Argument::kNone, Action::kBuild},
    {'c', Argument::kLines, Action::kGlobal},
    {'d', Argument::kNone, Action::kDictFromMark},
    {'e', Argument::kNone, Action::kPopMark},  // append all: their list is no matter
    {'h', Argument::kNumber1, Action::kGet},
    {'i', Argument::kLines, Action::kBlankFromMark},
    {'j', Argument::kNumber4, Action::kGet},
    {'l', Argument::kNone, Action::kBlankFromMark},
    {'o', Argument::kNone, Action::kBlankFromMark},
    {'q', Argument::kNumber1, Action::kPut},
    {'r', Argument::kNumber4, Action::kPut},
    {'s', Argument::kNone, Action::kSetItem},
    {'t', Argument::kNone, Action::kTuple},
    {'u', Argument::kNone, Action::kSetItems},
    {'}', Argument::kNone, Action::kBlank},
    {')', Argument::kNone, Action::kBlank},
    {0x80, Argument::kNumber1, Action::kNothing},  // protocol
    {0x81, Argument::kNone, Action::kBlankFrom2},
    {0x82, Argument::kNumber1, Action::kBlank},
    {0x83, Argument::kNumber2, Action::kBlank},
    {0x84, Argument::kNumber4, Action::kBlank},
    {0x85, Argument::kNone, Action::kTuple1},
    {0x86, Argument::kNone, Action::kTuple2},
    {0x87, Argument::kNone, Action::kTuple3},
    {0x88, Argument::kNone, Action::kBlank},  // true, false
    {0x89, Argument::kNone, Action::kBlank},
    {0x8A, Argument::kText1, Action::kLong},
    {0x8B, Argument::kText4, Action::kLong},
    {0x8C, Argument::kText1, Action::kText},
    {0x8D, Argument::kText8, Action::kText},
    {0x8E, Argument::kText8, Action::kBlank},
    {0x8F, Argument::kNone, Action::kBlank},
    {0x90, Argument::kNone, Action::kPopMark},
    {0x91, Argument::kNone, Action::kBlankFromMark},
    {0x92, Argument::kNone, Action::kBlankFrom3},
    {0x93, Argument::kNone, Action::kStackGlobal},
    {0x94, Argument::kNone, Action::kMemoize},
    {0x95, Argument::kNumber8, Action::kNothing},  // frame
    {0x96, Argument::kText8, Action::kBlank},
    {0x97, Argument::kNone, Action::kBlank},
    {0x98, Argument::kNone, Action::kNothing},
};

// By code; null where there is none.
constexpr auto kOpcodeOf = [] {
  std::array<const Opcode*, 256> table{};
  for (const Opcode& opcode : kOpcodes) table[opcode.code] = &opcode;
  return table;
}();

ElementType storage_type(std::string_view name) {
  struct Storage {
    std::string_view name;
    ElementType type;
  };
  constexpr Storage kStorages[] = {
      {"FloatStorage", ElementType::kFloat32},     {"HalfStorage", ElementType::kFloat16},
      {"BFloat16Storage", ElementType::kBfloat16}, {"DoubleStorage", ElementType::kFloat64},
      {"CharStorage", ElementType::kInt8},         {"ByteStorage", ElementType::kUint8},
      {"ShortStorage", ElementType::kInt16},       {"IntStorage", ElementType::kInt32},
      {"LongStorage", ElementType::kInt64},        {"BoolStorage", ElementType::kUint8},
      {"QInt8Storage", ElementType::kInt8},        {"QUInt8Storage", ElementType::kUint8},
      {"QInt32Storage", ElementType::kInt32},
  };
  for (const Storage& storage : kStorages) {
    if (storage.name == name) return storage.type;
  }
  return ElementType::kBytes;
}

enum class Kind : uint8_t { kBlank, kNumber, kText, kTuple, kGlobal, kStorage, kTensor };

constexpr uint32_t kNothing = 0;  // the value that stands for none

struct Value {
  Kind kind = Kind::kBlank;
  uint32_t parent = kNothing;  // the dictionary or object that it was put into first
  uint32_t key = kNothing;     // under this
  // kNumber: the number. kText, kGlobal: offset and size of the text. kTuple: place and count of
  // its items. kStorage, kTensor: index.
  uint64_t first = 0;
  uint64_t count = 0;
};

struct PickledTensor {
  uint32_t value;
  uint64_t storage;
  bool is_whole;  // the storage's values in order
  std::vector<uint64_t> shape;
};

class Machine {
 public:
  Machine(base::Bytes file, uint64_t offset) : file_(file), cursor_(file, offset), values_(1) {}

  Result<Pickle> run() {
    for (size_t count = 0; !stopped_; ++count) {
      if (count == kMaxOpcodes) return damaged("a pickle is too large");
      uint8_t code = 0;
      if (!cursor_.read(code)) return damaged("a pickle ends too early");
      const Opcode* const opcode = kOpcodeOf[code];
      if (opcode == nullptr) return damaged("unknown opcode in a pickle");
      if (!read_argument(opcode->argument)) return damaged("a pickle ends too early");
      act(opcode->action);
      if (failed_) return damaged("a pickle is malformed");
    }
    name_storages();
    Pickle pickle{cursor_.offset(), std::move(storages_), {}};
    for (const Value& value : values_) {
      if (value.kind == Kind::kText) pickle.texts.push_back(text_of(value));
    }
    return pickle;
  }

 private:
  static tl::unexpected<Error> damaged(const char* what) {
    return fail(TENSORPATCH_E_FORMAT, what);
  }

  template <class T>
  bool read_number() {
    T number = 0;
    if (!cursor_.read(number)) return false;
    number_ = number;
    return true;
  }

  bool read_line() {
    const auto rest = file_.subspan(cursor_.offset());
    const auto end = std::find(rest.begin(), rest.end(), uint8_t{'\n'});
    return cursor_.read_view(static_cast<uint64_t>(end - rest.begin()), text_) && cursor_.skip(1);
  }

  bool read_argument(Argument argument) {
    switch (argument) {
      case Argument::kNone:
        return true;
      case Argument::kNumber1:
        return read_number<uint8_t>();
      case Argument::kNumber2:
        return read_number<uint16_t>();
      case Argument::kNumber4:
        return read_number<uint32_t>();
      case Argument::kNumber8:
        return read_number<uint64_t>();
      case Argument::kText1:
        return cursor_.read_text<uint8_t>(text_);
      case Argument::kText4:
        return cursor_.read_text<uint32_t>(text_);
      case Argument::kText8:
        return cursor_.read_text<uint64_t>(text_);
      case Argument::kLines:
        return read_line() && read_line();
    }
    return false;
  }

  void act(Action action) {
    switch (action) {
      case Action::kNothing:
        return;
      case Action::kBlank:
        return push_new({});
      case Action::kNumber:
        return push_new({.kind = Kind::kNumber, .first = number_});
      case Action::kLong:
        return push_long();
      case Action::kText:
        return push_text(Kind::kText);
      case Action::kGlobal:
        return push_text(Kind::kGlobal);
      case Action::kMark:
        return marks_.push_back(stack_.size());
      case Action::kPop:
        return static_cast<void>(pop());
      case Action::kPopMark:
        return static_cast<void>(pop_items());
      case Action::kDuplicate:
        return push(top());
      case Action::kPut:
        return put(number_);
      case Action::kMemoize:
        return put(memo_.size());
      case Action::kGet:
        return get();
      case Action::kStop:
        stopped_ = true;
        return;
      default:
        return combine(action);
    }
  }

  // Actions that take several values.
  void combine(Action action) {
    switch (action) {
      case Action::kStackGlobal:
        return stack_global();
      case Action::kTuple:
        return push_tuple(pop_items());
      case Action::kTuple1:
        return push_tuple(pop_items(1));
      case Action::kTuple2:
        return push_tuple(pop_items(2));
      case Action::kTuple3:
        return push_tuple(pop_items(3));
      case Action::kBlankFromMark:
        pop_items();
        return push_new({});
      case Action::kBlankFrom2:
        pop_items(2);
        return push_new({});
      case Action::kBlankFrom3:
        pop_items(3);
        return push_new({});
      case Action::kDictFromMark: {
        const auto items = pop_items();
        push_new({});
        return put_into(top(), items);
      }
      case Action::kAppend:
        return static_cast<void>(pop());
      case Action::kSetItem: {
        const auto items = pop_items(2);
        return put_into(top(), items);
      }
      case Action::kSetItems: {
        const auto items = pop_items();
        return put_into(top(), items);
      }
      case Action::kBuild: {
        const uint32_t state = pop();
        return put_into(top(), {kNothing, state});
      }
      case Action::kReduce:
        return reduce();
      case Action::kPersistent:
        return push_storage();
      default:
        failed_ = true;
    }
  }

  // ---- the stack ----
  void push(uint32_t value) { stack_.push_back(value); }
  void push_new(Value value) {
    push(static_cast<uint32_t>(values_.size()));
    values_.push_back(value);
  }
  size_t bottom() const { return marks_.empty() ? 0 : marks_.back(); }
  uint32_t top() {
    if (stack_.size() > bottom()) return stack_.back();
    failed_ = true;
    return kNothing;
  }
  uint32_t pop() {
    const uint32_t value = top();
    if (!failed_) stack_.pop_back();
    return value;
  }
  std::vector<uint32_t> pop_items(size_t count) {
    if (stack_.size() - bottom() < count) {
      failed_ = true;
      return {};
    }
    const auto begin = stack_.end() - static_cast<ptrdiff_t>(count);
    std::vector<uint32_t> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    return items;
  }
  // Down to the mark, which goes too.
  std::vector<uint32_t> pop_items() {
    if (marks_.empty()) {
      failed_ = true;
      return {};
    }
    std::vector<uint32_t> items = pop_items(stack_.size() - marks_.back());
    marks_.pop_back();
    return items;
  }

  // ---- values ----
  void push_long() {
    Value value;
    if (text_.size() <= sizeof(uint64_t)) {
      value.kind = Kind::kNumber;
      std::memcpy(&value.first, text_.data(), text_.size());
    }
    push_new(value);
  }
  void push_text(Kind kind) {
    const auto* const begin = reinterpret_cast<const uint8_t*>(text_.data());
    push_new({.kind = kind,
              .first = static_cast<uint64_t>(begin - file_.data()),
              .count = text_.size()});
  }
  void push_tuple(const std::vector<uint32_t>& items) {
    push_new({.kind = Kind::kTuple, .first = items_.size(), .count = items.size()});
    items_.insert(items_.end(), items.begin(), items.end());
  }
  void stack_global() {
    Value name = values_[pop()];
    pop();  // the module
    if (name.kind == Kind::kText) name.kind = Kind::kGlobal;
    push_new(name);
  }
  void put(uint64_t index) {
    if (index >= kMaxOpcodes) {
      failed_ = true;
      return;
    }
    if (index >= memo_.size()) memo_.resize(index + 1, kNothing);
    memo_[index] = top();
  }
  void get() {
    if (number_ < memo_.size() && memo_[number_] != kNothing) {
      push(memo_[number_]);
    } else {
      failed_ = true;
    }
  }

  std::string_view text_of(const Value& value) const {
    return {reinterpret_cast<const char*>(file_.data()) + value.first, value.count};
  }
  std::span<const uint32_t> items_of(const Value& value) const {
    if (value.kind != Kind::kTuple) return {};
    return std::span(items_).subspan(value.first, value.count);
  }
  // The numbers of a tuple; nothing where it holds anything else or too many.
  std::optional<std::vector<uint64_t>> numbers_of(uint32_t tuple) const {
    const auto items = items_of(values_[tuple]);
    if (items.size() > kMaxRank) return std::nullopt;
    std::vector<uint64_t> numbers;
    for (const uint32_t item : items) {
      if (values_[item].kind != Kind::kNumber) return std::nullopt;
      numbers.push_back(values_[item].first);
    }
    return numbers;
  }

  // Keys and values by turns.
  void put_into(uint32_t container, const std::vector<uint32_t>& items) {
    for (size_t i = 1; i < items.size(); i += 2) {
      Value& value = values_[items[i]];
      if (value.parent != kNothing) continue;
      value.parent = container;
      value.key = items[i - 1];
    }
  }

  // ---- storages and tensors ----
  void push_storage() {
    const Value id = values_[pop()];
    const auto items = items_of(id);
    if (items.size() < 5 || values_[items[1]].kind != Kind::kGlobal ||
        values_[items[2]].kind != Kind::kText || values_[items[4]].kind != Kind::kNumber) {
      return push_new({});
    }
    const std::string_view key = text_of(values_[items[2]]);
    const auto [place, is_new] = places_.try_emplace(key, storages_.size());
    if (is_new) {
      PickledStorage& storage = storages_.emplace_back();
      storage.key = key;
      storage.type = storage_type(text_of(values_[items[1]]));
      storage.count = values_[items[4]].first;
    }
    push_new({.kind = Kind::kStorage, .first = place->second});
  }

  void reduce() {
    const auto arguments = items_of(values_[pop()]);
    const Value function = values_[pop()];
    const std::string_view name =
        function.kind == Kind::kGlobal ? text_of(function) : std::string_view();
    if (name.starts_with("_rebuild_parameter") && !arguments.empty()) return push(arguments[0]);
    push_new({});
    if (failed_ || arguments.size() < 4 || !name.starts_with("_rebuild_") ||
        values_[arguments[0]].kind != Kind::kStorage) {
      return;
    }
    const uint64_t index = values_[arguments[0]].first;
    const Value& offset = values_[arguments[1]];
    const auto shape = numbers_of(arguments[2]);
    const auto strides = numbers_of(arguments[3]);
    PickledTensor tensor{stack_.back(), index, false, {}};
    if (offset.kind == Kind::kNumber && offset.first == 0 && shape && strides &&
        element_count(*shape) == storages_[index].count && is_in_order(*shape, *strides)) {
      tensor.is_whole = true;
      tensor.shape = *shape;
    }
    tensors_.push_back(std::move(tensor));
  }

  static bool is_in_order(const std::vector<uint64_t>& shape,
                          const std::vector<uint64_t>& strides) {
    if (shape.size() != strides.size()) return false;
    uint64_t expected = 1;
    for (size_t i = shape.size(); i-- > 0;) {
      if (shape[i] != 1 && strides[i] != expected) return false;
      expected *= shape[i];  // no more than the count of elements, which fits
    }
    return true;
  }

  // Names and shapes of the storages, from the first tensor that is all of one, or else the first.
  void name_storages() {
    std::vector<const PickledTensor*> chosen(storages_.size());
    for (const PickledTensor& tensor : tensors_) {
      const PickledTensor*& best = chosen[tensor.storage];
      if (best == nullptr || (tensor.is_whole && !best->is_whole)) best = &tensor;
    }
    for (size_t i = 0; i < storages_.size(); ++i) {
      PickledStorage& storage = storages_[i];
      if (chosen[i] != nullptr) storage.name = path_of(chosen[i]->value);
      const bool is_whole = chosen[i] != nullptr && chosen[i]->is_whole;
      storage.shape = is_whole ? chosen[i]->shape : std::vector<uint64_t>{storage.count};
    }
  }

  // The outermost keys are left out where a path is long.
  std::string path_of(uint32_t value) const {
    std::string path;
    for (unsigned i = 0; i < kMaxNameDepth && value != kNothing; ++i) {
      const Value& key = values_[values_[value].key];
      std::string part;
      if (key.kind == Kind::kText && key.count <= kMaxNameSize) part = text_of(key);
      if (key.kind == Kind::kNumber) part = std::to_string(key.first);
      if (path.size() + part.size() >= kMaxNameSize) break;
      if (!part.empty() && !path.empty()) part += '.';
      path.insert(0, part);
      value = values_[value].parent;
    }
    return path;
  }

  base::Bytes file_;
  Cursor cursor_;
  uint64_t number_ = 0;    // the argument of the opcode at hand
  std::string_view text_;  // or this
  bool stopped_ = false;
  bool failed_ = false;
  std::vector<Value> values_;    // the first is kNothing
  std::vector<uint32_t> items_;  // of all tuples
  std::vector<uint32_t> stack_;
  std::vector<size_t> marks_;                  // sizes of the stack
  std::vector<uint32_t> memo_;                 // kNothing where there is no entry
  std::map<std::string_view, size_t> places_;  // of storages by key; a hash could be flooded
  std::vector<PickledStorage> storages_;
  std::vector<PickledTensor> tensors_;
};

}  // namespace

Result<Pickle> scan_pickle(base::Bytes file, uint64_t offset) {
  return Machine(file, offset).run();
}

void describe_storage(Segment& segment, const PickledStorage& storage) {
  segment.role = Role::kWeights;
  segment.name = storage.name;
  describe_values(segment, storage.type, storage.shape);
}

}  // namespace tensorpatch::model
