/* run_vectors.c: every test vector through the device library on a board: a Cortex-M4, or a Linux
 * process on another machine (linux_board.c).
 *
 * usage (after the program's name, by semihosting): FOLDER of index.tsv, keys.tsv and the files
 * that they name (tests/vectors/vectors.h says what is in them). Each vector must give its status
 * and, where that is DONE, the right new files, in bites of several sizes; nothing may be written
 * that is not of the new file. Signatures and digests are checked by libsodium on the device. For
 * vectors that end with DONE the instructions and the stack are printed where the board measures
 * them, those of libsodium apart.
 * Exit code 0 only when every vector held.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "board.h"
#include "tensorpatch/apply.h"
#include "tensorpatch/ports/libsodium.h"

enum {
  PLACE_SIZE = 1024, /* the capacity that vectors expect when they name none */
  BUNDLE_CAPACITY = 8192,
  WORKSPACE_SIZE = 131072,
  KEY_COUNT = 3,
  MIN_VECTORS = 50, /* fewer: the index is not what it should be */
  UNTOUCHED = 0xA5,
  OTHER_ROLE = 99,
  /* What lib/apply/README.md promises. */
  MAX_STACK = 1536
};

typedef struct file {
  uint8_t data[PLACE_SIZE];
  size_t size;
} file;

typedef struct vector {
  const char* name;
  char* options;
  tensorpatch_status expected;
  file old_files[TENSORPATCH_MAX_COMPONENTS], new_files[TENSORPATCH_MAX_COMPONENTS];
  uint8_t bundle[BUNDLE_CAPACITY];
  size_t old_count, new_count, bundle_size;
} vector;

typedef struct measure {
  uint32_t ticks, crypto_ticks;
  size_t base;                /* of the stack, where the library is called */
  size_t stack, crypto_stack; /* the deepest from there, without and with libsodium */
} measure;

typedef struct run {
  size_t bite;
  size_t work_limit;
  bool measures_stack; /* takes time, and so falsifies the instructions */
} run;

/* The first is measured. */
static const run runs[] = {{BUNDLE_CAPACITY, 0, false},
                           {BUNDLE_CAPACITY, 0, true},
                           {1, 0, false},
                           {7, 50, false},
                           {64, 1, false}};

static const run* current_run;
static const char* folder;
static tensorpatch_key ring_keys[KEY_COUNT];
static uint8_t public_keys[KEY_COUNT][32];
static vector current;
static uint8_t places[TENSORPATCH_MAX_COMPONENTS][PLACE_SIZE];
static uint32_t write_count;
static measure measured;
static uint64_t workspace[WORKSPACE_SIZE / sizeof(uint64_t)];
static tensorpatch_applier applier;
static tensorpatch_hash_port sodium;

/* --- Text ------------------------------------------------------------------------------------ */

static void die(const char* what, const char* which) {
  board_print(what);
  board_print(which);
  board_print("\n");
  board_exit(1);
}

/* Cuts what stands before `separator` off *rest; NULL when nothing is left. */
static char* cut(char** rest, char separator) {
  char* field = *rest;
  char* end;
  if (field == NULL || *field == '\0') return NULL;
  end = strchr(field, separator);
  *rest = end == NULL ? NULL : end + 1;
  if (end != NULL) *end = '\0';
  return field;
}

static char* cut_or_die(char** rest, char separator) {
  char* field = cut(rest, separator);
  if (field == NULL) die("a column is missing in the index or the keys", "");
  return field;
}

static void parse_hex(const char* text, uint8_t* bytes, size_t count) {
  size_t i;
  if (strlen(text) != 2 * count) die("not the size of hex digits: ", text);
  for (i = 0; i < count; ++i) {
    const char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};
    bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
  }
}

static tensorpatch_status parse_status(const char* text) {
#define STATUS(name) \
  { #name, TENSORPATCH_##name }
  static const struct {
    const char* name;
    tensorpatch_status status;
  } all[] = {STATUS(DONE),        STATUS(ALREADY_NEW), STATUS(E_FORMAT),
             STATUS(E_VERSION),   STATUS(E_CODEC),     STATUS(E_TRUNCATED),
             STATUS(E_TRAILING),  STATUS(E_SIGNATURE), STATUS(E_UNTRUSTED),
             STATUS(E_DIGEST),    STATUS(E_SEQUENCE),  STATUS(E_SECURITY_VERSION),
             STATUS(E_WORKSPACE), STATUS(E_CAPACITY),  STATUS(E_DEVICE_CLASS),
             STATUS(E_OLD),       STATUS(E_NEW),       STATUS(E_UNDO)};
#undef STATUS
  size_t i;
  for (i = 0; i < sizeof all / sizeof *all; ++i) {
    if (strcmp(text, all[i].name) == 0) return all[i].status;
  }
  die("unknown status: ", text);
  return TENSORPATCH_OK;
}

/* --- Files of the computer ------------------------------------------------------------------- */

static size_t load(const char* name, void* data, size_t capacity) {
  char path[512];
  const size_t folder_size = strlen(folder);
  int32_t size;
  if (folder_size + strlen(name) + 2 > sizeof path) die("too long: ", name);
  memcpy(path, folder, folder_size);
  path[folder_size] = '/';
  memcpy(path + folder_size + 1, name, strlen(name) + 1);
  size = board_read_file(path, data, capacity);
  if (size < 0) die("cannot be read, or is too large: ", path);
  return (size_t)size;
}

static char* load_text(const char* name, char* text, size_t capacity) {
  const size_t size = load(name, text, capacity - 1);
  text[size] = '\0';
  return text;
}

static size_t load_list(char* names, file* files) {
  size_t count = 0;
  char* name;
  if (strcmp(names, "-") == 0) return 0;
  while ((name = cut(&names, ',')) != NULL) {
    if (count == TENSORPATCH_MAX_COMPONENTS) die("too many files with ", name);
    files[count].size = load(name, files[count].data, sizeof files[count].data);
    ++count;
  }
  return count;
}

static void load_keys(void) {
  static char text[1024];
  char* rest = load_text("keys.tsv", text, sizeof text);
  size_t i;
  for (i = 0; i < KEY_COUNT; ++i) {
    char* line = cut_or_die(&rest, '\n');
    tensorpatch_key* key = &ring_keys[i];
    if (strtoul(cut_or_die(&line, '\t'), NULL, 10) != i + 1) die("keys are not in order", "");
    key->algorithm = TENSORPATCH_ED25519;
    parse_hex(cut_or_die(&line, '\t'), key->id, sizeof key->id);
    parse_hex(cut_or_die(&line, '\t'), public_keys[i], sizeof public_keys[i]);
    key->public_key = public_keys[i];
    key->public_key_size = sizeof public_keys[i];
  }
}

static void load_vector(char* line) {
  current.name = cut_or_die(&line, '\t');
  current.bundle_size = load(cut_or_die(&line, '\t'), current.bundle, sizeof current.bundle);
  current.old_count = load_list(cut_or_die(&line, '\t'), current.old_files);
  current.new_count = load_list(cut_or_die(&line, '\t'), current.new_files);
  current.expected = parse_status(cut_or_die(&line, '\t'));
  current.options = cut_or_die(&line, '\t');
}

/* --- The device's storage and cryptography --------------------------------------------------- */

static int copy_out(const uint8_t* from, size_t from_size, uint64_t offset, uint8_t* data,
                    size_t size) {
  if (offset > from_size || size > from_size - offset) return TENSORPATCH_BEYOND_END;
  memcpy(data, from + offset, size);
  return 0;
}

static int read_old(void* context, uint32_t component, uint64_t offset, uint8_t* data,
                    size_t size) {
  const file* old = &current.old_files[component];
  (void)context;
  return component < current.old_count ? copy_out(old->data, old->size, offset, data, size) : -1;
}

static int read_new(void* context, uint32_t component, uint64_t offset, uint8_t* data,
                    size_t size) {
  (void)context;
  return component < current.new_count ? copy_out(places[component], PLACE_SIZE, offset, data, size)
                                       : -1;
}

static int write_new(void* context, uint32_t component, uint64_t offset, const uint8_t* data,
                     size_t size) {
  (void)context;
  if (component >= current.new_count || offset > PLACE_SIZE || size > PLACE_SIZE - offset)
    return -1;
  memcpy(places[component] + offset, data, size);
  ++write_count;
  return 0;
}

static void note_depth(size_t* deepest) {
  const size_t depth = board_stack_depth() - measured.base;
  if (depth > *deepest) *deepest = depth;
}

/* Around each call of libsodium: in the run that measures the stack, notes how deep it was without
 * libsodium and wipes what that left, so that the library and libsodium are measured apart. */
static uint32_t before_crypto(void) {
  if (current_run->measures_stack) note_depth(&measured.stack);
  return board_ticks();
}

static void after_crypto(uint32_t begin) {
  measured.crypto_ticks += board_ticks() - begin;
  if (current_run->measures_stack) {
    note_depth(&measured.crypto_stack);
    board_paint_stack();
  }
}

static int hash_init(void* state) {
  const uint32_t begin = before_crypto();
  const int result = sodium.init(state);
  after_crypto(begin);
  return result;
}

static int hash_update(void* state, const uint8_t* data, size_t size) {
  const uint32_t begin = before_crypto();
  const int result = sodium.update(state, data, size);
  after_crypto(begin);
  return result;
}

static int hash_finish(void* state, uint8_t digest[TENSORPATCH_DIGEST_SIZE]) {
  const uint32_t begin = before_crypto();
  const int result = sodium.finish(state, digest);
  after_crypto(begin);
  return result;
}

static int verify(void* context, const tensorpatch_key* key, const uint8_t* message,
                  size_t message_size, const uint8_t* signature, size_t signature_size) {
  const uint32_t begin = before_crypto();
  const int result =
      tensorpatch_libsodium_verify(context, key, message, message_size, signature, signature_size);
  after_crypto(begin);
  return result;
}

/* --- A run of a vector ----------------------------------------------------------------------- */

typedef struct device {
  tensorpatch_key ring[KEY_COUNT];
  const tensorpatch_codec* codecs[2];
  uint8_t device_class[16];
  tensorpatch_options options;
} device;

static void set_ring(device* made, char* numbers) {
  char* number;
  made->options.key_count = 0;
  while ((number = cut(&numbers, ',')) != NULL) {
    const unsigned long value = strtoul(number, NULL, 10);
    tensorpatch_key* key = &made->ring[made->options.key_count];
    if (value == 0 || value > KEY_COUNT || made->options.key_count == KEY_COUNT) {
      die("unknown key: ", number);
    }
    *key = ring_keys[value - 1];
    key->role = strchr(number, '!') != NULL ? OTHER_ROLE : TENSORPATCH_ROLE_RELEASE;
    ++made->options.key_count;
  }
}

static void set_option(device* made, char* option) {
  const char* key = cut_or_die(&option, '=');
  char* value = option == NULL ? cut_or_die(&option, ' ') : option;
  size_t i;
  if (strcmp(key, "threshold") == 0) {
    made->options.threshold = (uint32_t)strtoul(value, NULL, 10);
  } else if (strcmp(key, "sequence-floor") == 0) {
    made->options.sequence_floor = strtoull(value, NULL, 10);
  } else if (strcmp(key, "security-version-floor") == 0) {
    made->options.security_version_floor = (uint32_t)strtoul(value, NULL, 10);
  } else if (strcmp(key, "capacity") == 0) {
    for (i = 0; i < TENSORPATCH_MAX_COMPONENTS; ++i) {
      made->options.capacity[i] = strtoull(value, NULL, 10);
    }
  } else if (strcmp(key, "device-class") == 0) {
    parse_hex(value, made->device_class, sizeof made->device_class);
    made->options.device_class = made->device_class;
  } else if (strcmp(key, "accept") == 0 && strcmp(value, "undo") == 0) {
    made->options.accept = TENSORPATCH_ACCEPT_UNDO;
  } else if (strcmp(key, "ring") == 0) {
    set_ring(made, value);
  } else if (strcmp(key, "codecs") == 0 && strcmp(value, "none") == 0) {
    made->options.codec_count = 0;
  } else {
    die("unknown option: ", key);
  }
}

static void make_device(device* made) {
  char default_ring[] = "1";
  char* rest = current.options;
  char* option;
  size_t i;
  memset(made, 0, sizeof *made);
  made->codecs[0] = &tensorpatch_codec_values;
  made->codecs[1] = &tensorpatch_codec_bytes;
  made->options.keys = made->ring;
  made->options.threshold = 1;
  made->options.codecs = made->codecs;
  made->options.codec_count = 2;
  for (i = 0; i < TENSORPATCH_MAX_COMPONENTS; ++i) made->options.capacity[i] = PLACE_SIZE;
  set_ring(made, default_ring);
  if (strcmp(rest, "-") == 0) return;
  while ((option = cut(&rest, ' ')) != NULL) set_option(made, option);
}

static tensorpatch_status push_all(void) {
  tensorpatch_status status = TENSORPATCH_MORE;
  uint64_t offset;
  while ((offset = tensorpatch_apply_next_offset(&applier)) < current.bundle_size) {
    const size_t left = current.bundle_size - (size_t)offset;
    const size_t size = left < current_run->bite ? left : current_run->bite;
    size_t consumed = 0;
    status = tensorpatch_apply_push(&applier, current.bundle + offset, size, &consumed);
    if (status >= TENSORPATCH_E_ARGUMENT || status == TENSORPATCH_ALREADY_NEW) return status;
  }
  do {
    status = tensorpatch_apply_finish(&applier);
  } while (status == TENSORPATCH_MORE);
  return status;
}

static tensorpatch_status apply(device* made) {
  static tensorpatch_libsodium_hash state;
  tensorpatch_ports ports = {.hash = {&state, hash_init, hash_update, hash_finish},
                             .verify = verify,
                             .read_old = read_old,
                             .write_new = write_new,
                             .read_new = read_new};
  tensorpatch_status status;
  uint32_t begin;
  memset(places, UNTOUCHED, sizeof places);
  write_count = 0;
  sodium = tensorpatch_libsodium_hash_port(&state);
  made->options.work_limit = current_run->work_limit;
  measured.crypto_ticks = 0;
  measured.base = board_stack_here();
  board_paint_stack();
  begin = board_ticks();
  status = tensorpatch_apply_init(&applier, workspace, sizeof workspace, &ports, &made->options);
  if (status == TENSORPATCH_OK) status = push_all();
  measured.ticks = board_ticks() - begin - measured.crypto_ticks;
  if (current_run->measures_stack) note_depth(&measured.stack);
  return status;
}

/* Whether a place holds the beginning of what it should, and nothing else. */
static bool holds_prefix(const uint8_t* place, const file* wanted) {
  size_t at = 0;
  while (at < wanted->size && place[at] == wanted->data[at]) ++at;
  while (at < PLACE_SIZE && place[at] == UNTOUCHED) ++at;
  return at == PLACE_SIZE;
}

static const char* what_is_wrong(tensorpatch_status status) {
  const bool may_write = status == TENSORPATCH_DONE || status == TENSORPATCH_E_DIGEST ||
                         status == TENSORPATCH_E_TRUNCATED || status == TENSORPATCH_E_TRAILING ||
                         strncmp(current.name, "stream-", 7) == 0;
  size_t i;
  if (status != current.expected) return tensorpatch_status_text(status);
  if (!may_write && write_count != 0) return "something was written";
  for (i = 0; i < current.new_count; ++i) {
    const file* wanted = &current.new_files[i];
    if (!holds_prefix(places[i], wanted)) return "wrong bytes were written";
    if (status == TENSORPATCH_DONE && memcmp(places[i], wanted->data, wanted->size) != 0) {
      return "new is wrong";
    }
  }
  return NULL;
}

static void print_number(size_t number) {
  board_print_number((uint32_t)number);
}

static void print_cell(size_t number) {
  board_print("\t");
  print_number(number);
}

/* A board that measures nothing says 0. */
static bool measures(void) {
  return board_stack_here() != 0;
}

static void print_measures(const measure* instructions) {
  board_print(current.name);
  print_cell(current.bundle_size);
  print_cell(instructions->ticks / (1000 / BOARD_INSTRUCTIONS_PER_TICK));
  print_cell(instructions->crypto_ticks / (1000 / BOARD_INSTRUCTIONS_PER_TICK));
  print_cell(measured.stack);
  print_cell(measured.crypto_stack);
  board_print("\n");
}

/* Runs the vector in every way; whether all held. */
static bool run_vector(device* made) {
  measure first = {0};
  size_t i;
  measured.stack = measured.crypto_stack = 0;
  for (i = 0; i < sizeof runs / sizeof *runs; ++i) {
    const char* wrong;
    current_run = &runs[i];
    wrong = what_is_wrong(apply(made));
    if (i == 0) first = measured;
    if (measured.stack > MAX_STACK) wrong = "the stack is deeper than documented";
    if (wrong != NULL) {
      board_print("FAILED ");
      board_print(current.name);
      board_print(" in bites of ");
      print_number(current_run->bite);
      board_print(": ");
      board_print(wrong);
      board_print("\n");
      return false;
    }
  }
  if (current.expected == TENSORPATCH_DONE && measures()) print_measures(&first);
  return true;
}

int main(void) {
  static char index[32768];
  static device made;
  char* rest;
  char* line;
  uint32_t count = 0;
  uint32_t failed = 0;
  size_t deepest = 0;
  folder = board_arguments();
  load_keys();
  rest = load_text("index.tsv", index, sizeof index);
  if (measures()) {
    board_print("vector\tbundle\tthousand instructions\tof libsodium\tstack\twith libsodium\n");
  }
  while ((line = cut(&rest, '\n')) != NULL) {
    load_vector(line);
    make_device(&made);
    ++count;
    if (!run_vector(&made)) ++failed;
    if (measured.stack > deepest) deepest = measured.stack;
  }
  board_print_number(count);
  board_print(" vectors, ");
  board_print_number(failed);
  board_print(" failed");
  if (measures()) {
    board_print(", at most ");
    print_number(deepest);
    board_print(" bytes of stack without libsodium");
  }
  board_print("\n");
  return failed == 0 && count >= MIN_VECTORS ? 0 : 1;
}
