#!/usr/bin/env python3
# tests/tidy/tidy.py: enforces the rules of the source tree that compilers do not know.
#
# usage: tidy.py ROOT     prints `path:line: what is wrong` for each finding; exit code 1 if any.
# A rule is a function from a tree (path -> text) to findings, so that tidy_test.py can show with
# small made-up trees that each of them can fail. Rules are listed in RULES at the end.
# SPDX-License-Identifier: Apache-2.0
import os
import re
import subprocess
import sys

# --- the table of layers --------------------------------------------------------------------------

# Rooms that the files of a room may include, besides their own.
ROOMS = {
    'lib/apply': [],
    'lib/slots': [],
    'lib/ports': ['apply'],
    'lib/base': ['apply'],
    'lib/model': ['base', 'apply'],
    'lib/delta': ['model', 'base', 'apply'],
    'lib/keys': ['ports', 'base', 'apply'],
    'lib/bundle': ['keys', 'ports', 'base', 'apply'],
    'lib/release': ['keys', 'ports', 'base', 'apply'],
    'lib/snap': ['delta', 'model', 'base', 'apply'],
    'lib/toolkit': ['bundle', 'release', 'snap', 'delta', 'model', 'keys', 'ports', 'slots', 'base',
                    'apply'],
    'lib/agent': ['bundle', 'release', 'keys', 'ports', 'slots', 'base', 'apply'],
    'tools/tensorpatch': ['toolkit', 'base', 'apply'],
    'tools/tensorpatch-agent': ['agent', 'toolkit', 'base', 'apply'],
}
PUBLIC_HEADERS = {'tensorpatch/apply.h': 'apply', 'tensorpatch/result.h': 'base',
                  'tensorpatch/toolkit.h': 'toolkit', 'tensorpatch/slots.h': 'slots'}
# Where a header of another library may be included: a prefix of the header -> rooms.
LIBRARY_HEADERS = {
    'sodium': ['lib/ports', 'lib/keys'],
    'CLI/': ['tools/tensorpatch', 'tools/tensorpatch-agent'],
    'curl/': ['lib/agent'],
    'divsufsort': ['lib/delta'],
    'bzlib.h': ['lib/delta'],
    'zstd': ['lib/ports', 'lib/delta'],
}
DEVICE_ROOMS = ('lib/apply', 'lib/slots')
# All that the device library includes: what a freestanding compiler has, and memcpy.
DEVICE_HEADERS = {'stddef.h', 'stdint.h', 'string.h', 'limits.h',
                  'cstddef', 'cstdint', 'cstring', 'climits', 'limits', 'type_traits'}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def room_of(path):
    return next((room for room in ROOMS if path.startswith(room + '/')), None)


def is_code(path):
    return path.endswith(('.h', '.cc', '.c'))


def included_room(room, header, tree):
    """The room that a header belongs to, None for a library's or a generated one."""
    if header in PUBLIC_HEADERS:
        return PUBLIC_HEADERS[header]
    if header.startswith('tensorpatch/ports/'):
        return 'ports'
    first = header.split('/')[0]
    if '/' in header and ('lib/' + first) in ROOMS:
        return first
    if '/' not in header and f'{room}/{header}' in tree:
        return room.split('/')[-1]
    return None


def layers(tree):
    """Includes follow the table: rooms, libraries of one room, the device library's short list."""
    for path, text in tree.items():
        room = room_of(path)
        if room is None or not is_code(path):
            continue
        own = room.split('/')[-1]
        for number, line in enumerate(text.splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            header = match[2]
            other = included_room(room, header, tree)
            if other is not None and other != own and other not in ROOMS[room]:
                yield path, number, f'{room} may not include {header}, which is of {other}'
            for prefix, rooms in LIBRARY_HEADERS.items():
                if other is None and header.startswith(prefix) and room not in rooms:
                    yield path, number, f'{header} may be included only in {", ".join(rooms)}'
            if room in DEVICE_ROOMS and other is None and header not in DEVICE_HEADERS:
                yield path, number, f'the device library may not include {header}'


def public_headers(tree):
    """A public header includes public headers only: no room's own header is installed."""
    for path, text in tree.items():
        if room_of(path) is None or '/include/' not in path:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            match = INCLUDE.match(line)
            if match and match[1] == '"' and match[2] not in PUBLIC_HEADERS:
                yield path, number, f'a public header may not include {match[2]}: not installed'


# --- banned words ---------------------------------------------------------------------------------

# (pattern, what is wrong, rooms as a prefix of the path, paths that may)
DEVICE = 'lib/(apply|slots)/'
BANNED = [
    (r'\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|strncpy|alloca)\s*\(', 'has no bound', '', ''),
    (r'\b(atoi|atol|atoll|atof|sscanf)\s*\(', 'hides errors: use std::from_chars', '', ''),
    (r'\b(system|popen|tmpnam|mktemp)\s*\(', 'is unsafe', '(lib|tools)/', ''),
    (r'\b(rand|srand)\s*\(', 'is not random: use libsodium or a seeded engine', '', ''),
    (r'\busing\s+namespace\s+std\s*;', 'is not used here', '', ''),
    (r'\bthrow\b(?! std::bad_alloc)', 'no exceptions of our own: return a Result',
     '(lib|tools)/', ''),
    (r'\bstd::(cout|cerr|clog)\b|\b(std::)?(printf|fprintf|vfprintf|puts|fputs|putchar)\s*\(',
     'only terminal.cc prints', '(lib|tools)/', r'tools/[a-z-]+/terminal\.(h|cc)$'),
    # The device library.
    (r'\b(float|double)\b', 'floating point in the device library', DEVICE, ''),
    (r'\bnew\b(?!\s*[;,)=.])|(?<!=)(?<!= )\bdelete\b', 'heap in the device library',
     DEVICE, ''),
    (r'\b(malloc|calloc|realloc|free)\s*\(', 'heap in the device library', DEVICE, ''),
    (r'\bvirtual\b|\bdynamic_cast\b|\btypeid\b|\btry\b|\bcatch\b',
     'run-time support in the device library', DEVICE, ''),
    (r'\bthread_local\b|\bmutable\b|\bgoto\b', 'not in the device library', DEVICE, ''),
    (r'^\s*#\s*(if|elif|ifdef|ifndef)\b(?! (TENSORPATCH_\w+_H|__cplusplus|__OPTIMIZE_SIZE__)\b)',
     'configuration by macros in the device library', DEVICE, ''),
]


def without_comments(text):
    """The code with comments and literals blanked, lines kept; include lines keep their quotes."""
    def blank(match):
        token = match[0]
        if token.startswith(('//', '/*')):
            return re.sub(r'[^\n]', ' ', token)
        return token[0] + re.sub(r'[^\n]', ' ', token[1:-1]) + token[-1]
    pattern = (r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'
               r'(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'')
    return re.sub(pattern, blank, text, flags=re.S)


def banned_words(tree):
    """Calls and words that the conventions rule out, outside comments and strings."""
    for path, text in tree.items():
        if not is_code(path):
            continue
        rules = [(re.compile(pattern), why) for pattern, why, where, may in BANNED
                 if re.match(where, path) and not (may and re.search(may, path))]
        for number, line in enumerate(without_comments(text).splitlines(), 1):
            for pattern, why in rules:
                match = pattern.search(line)
                if match:
                    yield path, number, f'`{match[0].strip()}`: {why}'


# --- files ----------------------------------------------------------------------------------------

def dead_files(tree):
    """A source file is named by a build file of its folder or above, a header by an #include."""
    included = {os.path.basename(match[2]) for text in tree.values() for line in text.splitlines()
                if (match := INCLUDE.match(line))}
    for path, text in tree.items():
        name = os.path.basename(path)
        if path.endswith('.h'):
            if name not in included and '/include/' not in path:
                yield path, 1, 'no file includes this header'
        elif path.endswith(('.cc', '.c', '.fbs')):
            named = any(is_named(name if is_above(key, path) else path, build_file)
                        for key, build_file in tree.items()
                        if key.endswith(('CMakeLists.txt', '.cmake')))
            if not named:
                yield path, 1, 'no build file names this file'


def is_above(build_file, path):
    folder = os.path.dirname(build_file)
    return folder == '' or path.startswith(folder + '/')


def is_named(name, build_file):
    """Whether a build file names a file: by its name, or from elsewhere by its path."""
    def has_word(word):
        return re.search(rf'(?<![\w.]){re.escape(word)}(?![\w.])', build_file) is not None
    if has_word(name):
        return True
    if '/' in name:
        return False
    if re.search(rf'GLOB\b[^)]* \*{re.escape(os.path.splitext(name)[1])}\b', build_file):
        return True
    # A list in a foreach names files, too: `fuzz_${parser}.cc` with the word `tflite`.
    for before, after in re.findall(r'(\w*)\$\{\w+\}(\w*\.\w+)', build_file):
        middle = name[len(before):len(name) - len(after)]
        if middle and name == before + middle + after and has_word(middle):
            return True
    return False


def head_of(path, text):
    """The lines of the comment that a file begins with; a Python file may have a docstring."""
    text = re.sub(r'^#![^\n]*\n', '', text)
    if path.endswith('.py') and text.startswith('"""'):
        return text[3:].split('"""')[0].splitlines()
    starts = ('//', '/*', ' *') if path.endswith(('.h', '.cc', '.c', '.fbs')) else ('#',)
    lines = text.splitlines()
    end = next((i for i, line in enumerate(lines) if not line.startswith(starts)), len(lines))
    return lines[:end]


LICENCE = re.compile(r'(// |# | \* )?SPDX-License-Identifier: Apache-2\.0( \*/)?')


def names_itself(path, line):
    """Whether a first line begins with the end of the file's path; a docstring just holds it."""
    if not line.startswith(('//', '/*', '#')) or path.endswith('CMakeLists.txt'):
        return path.endswith('CMakeLists.txt') or os.path.basename(path) in line
    match = re.match(r'(?://|/\*|#) ([\w./-]+): \S', line)
    return match is not None and ('/' + path).replace('/include/', '/').endswith('/' + match[1])


def header_comments(tree):
    """The first lines say what a file is, beginning with its name, and under which licence."""
    for path, text in tree.items():
        head = head_of(path, text)
        if not head:
            yield path, 1, 'begins without a header comment'
            continue
        if not any(LICENCE.fullmatch(line) for line in head):
            yield path, 1, 'the header comment lacks a line `SPDX-License-Identifier: Apache-2.0`'
        if not names_itself(path, head[0]):
            yield path, 1, 'the header comment does not begin with `<name of the file>: `'


def text_form(tree):
    """Lines of at most 100 columns, no tabs, no blanks at the end; a newline at the end."""
    for path, text in tree.items():
        if text and not text.endswith('\n'):
            yield path, text.count('\n') + 1, 'the last line does not end'
        for number, line in enumerate(text.splitlines(), 1):
            if len(line) > 100:
                yield path, number, f'{len(line)} columns, at most 100'
            if '\t' in line:
                yield path, number, 'a tab'
            if line != line.rstrip():
                yield path, number, 'blanks at the end of the line'


def names(tree):
    """Files are snake_case; headers are guarded."""
    for path, text in tree.items():
        name = os.path.basename(path)
        if is_code(path) and not re.fullmatch(r'[a-z0-9]+(_[a-z0-9]+)*\.(h|cc|c)', name):
            yield path, 1, 'the file name is not snake_case'
        guarded = '#pragma once' in text or '#ifndef TENSORPATCH_' in text
        if path.endswith('.h') and not guarded:
            yield path, 1, 'the header lacks `#pragma once`'


EXPECTS = re.compile(r'\b(EXPECT_|ASSERT_|FAIL\(|ADD_FAILURE|SUCCEED)')
CALLED = re.compile(r'(\w+)(?:<[^;()]*>)?\(')
# A function's definition, at any depth: its body ends at a brace in the column where it begins.
DEFINITION = re.compile(r'^( *)[\w:<>,&*\[\] ]*?(\w+)\([^;{}]*\{\n(.*?)^\1\}', re.M | re.S)
TEST = re.compile(r'^TEST(?:_[FP])?\((\w+),\s*(\w+)\) \{\n?(.*?)^\}', re.M | re.S)


def expecting(bodies):
    """The names of functions that expect something, themselves or through another helper."""
    names = {name for name, body in bodies if EXPECTS.search(body)}
    size = 0
    while size != len(names):
        size = len(names)
        names |= {name for name, body in bodies if names & set(CALLED.findall(body))}
    return names


def tests_assert(tree):
    """A test without an expectation, of its own or in a helper of the tests, cannot fail."""
    tests = {path: without_comments(text) for path, text in tree.items()
             if path.startswith('tests/') and path.endswith(('.h', '.cc'))}
    bodies = {path: [(match[2], match[3]) for match in DEFINITION.finditer(code)]
              for path, code in tests.items()}
    shared = [body for path in tests if not path.endswith('_test.cc') for body in bodies[path]]
    for path, code in tests.items():
        helpers = expecting(shared + bodies[path])
        for match in TEST.finditer(code):
            if not EXPECTS.search(match[3]) and not helpers & set(CALLED.findall(match[3])):
                yield path, code.count('\n', 0, match.start()) + 1, \
                    f'the test {match[1]}.{match[2]} expects nothing'


RULES = [layers, public_headers, banned_words, dead_files, header_comments, text_form, names,
         tests_assert]

SOURCE = re.compile(r'(.*/)?(CMakeLists\.txt|[^/]+\.(h|cc|c|fbs|cmake|py|sh))$|'
                    r'scripts/[^/.]+$|\.ci/run$')


def read_tree(root):
    """The files of the checkout that rules look at; what git ignores is not looked at."""
    try:
        listed = subprocess.run(['git', '-C', root, 'ls-files', '-co', '--exclude-standard'],
                                capture_output=True, text=True, check=True)
        paths = listed.stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        paths = walk(root)
    tree = {}
    for path in sorted(set(paths)):
        full = os.path.join(root, path)
        if SOURCE.match(path) and os.path.isfile(full):
            with open(full, encoding='utf-8') as file:
                tree[path] = file.read()
    return tree


def walk(root):
    """For a source archive, which has no git folder, and for machines without git."""
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in ('build', '.git')]
        for name in files:
            yield os.path.relpath(os.path.join(folder, name), root)


def main():
    tree = read_tree(sys.argv[1])
    if not any(is_code(path) for path in tree):
        print(f'no source file in {sys.argv[1]}')
        return 1
    count = 0
    for rule in RULES:
        for path, number, message in rule(tree):
            print(f'{path}:{number}: {message} [{rule.__name__}]')
            count += 1
    print(f'{len(tree)} files, {len(RULES)} rules, {count} findings')
    return 1 if count else 0


if __name__ == '__main__':
    sys.exit(main())
