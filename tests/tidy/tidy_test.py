#!/usr/bin/env python3
# tests/tidy/tidy_test.py: shows that every rule of tidy.py and apply_symbols.py can fail.
#
# Each case is a small tree and how many findings a rule has in it.
# SPDX-License-Identifier: Apache-2.0
import unittest

import apply_symbols
import tidy

HEAD = '// {}: a test.\n// SPDX-License-Identifier: Apache-2.0\n'


def count(rule, tree):
    return len(list(rule(tree)))


class Layers(unittest.TestCase):
    def check(self, path, header, findings):
        tree = {path: f'#include {header}\n', 'lib/apply/wire.h': '', 'lib/model/model.h': ''}
        self.assertEqual(count(tidy.layers, tree), findings, f'{path} includes {header}')

    def test_rooms(self):
        self.check('lib/delta/match.cc', '"model/model.h"', 0)
        self.check('lib/delta/match.cc', '"delta/plan.h"', 0)
        self.check('lib/model/raw.cc', '"delta/plan.h"', 1)
        self.check('lib/bundle/writer.cc', '"delta/plan.h"', 1)
        self.check('lib/delta/plan.cc', '"bundle/writer.h"', 1)
        self.check('lib/base/file.cc', '"keys/keys.h"', 1)
        self.check('lib/apply/applier.cc', '"base/file.h"', 1)
        self.check('lib/apply/applier.cc', '"tensorpatch/result.h"', 1)
        self.check('lib/apply/applier.cc', '"wire.h"', 0)
        self.check('tools/tensorpatch/main.cc', '"tensorpatch/toolkit.h"', 0)
        self.check('tools/tensorpatch/main.cc', '"bundle/writer.h"', 1)
        self.check('tests/model/model_test.cc', '"toolkit/pack.h"', 0)

    def test_libraries(self):
        self.check('lib/keys/keys.cc', '<sodium.h>', 0)
        self.check('lib/bundle/digest.cc', '<sodium.h>', 1)
        self.check('lib/toolkit/pack.cc', '<CLI/CLI.hpp>', 1)
        self.check('tools/tensorpatch/main.cc', '<CLI/CLI.hpp>', 0)
        self.check('lib/toolkit/fetch.cc', '<curl/curl.h>', 1)
        self.check('lib/apply/applier.cc', '<vector>', 1)
        self.check('lib/apply/applier.cc', '<stdint.h>', 0)

    def test_public_headers(self):
        path = 'lib/toolkit/include/tensorpatch/toolkit.h'
        self.assertEqual(count(tidy.public_headers, {path: '#include "base/file.h"\n'}), 1)
        self.assertEqual(count(tidy.public_headers, {path: '#include "tensorpatch/result.h"\n'}), 0)


class BannedWords(unittest.TestCase):
    def check(self, path, code, findings):
        self.assertEqual(count(tidy.banned_words, {path: code + '\n'}), findings, f'{path}: {code}')

    def test_everywhere(self):
        for code in ('strcpy(a, b);', 'sprintf(a, "x");', 'int n = atoi(text);', 'int r = rand();',
                     'using namespace std;'):
            self.check('tests/base/file_test.cc', code, 1)
        self.check('lib/base/file.cc', 'snprintf(a, 3, "x"); std::string strcpy_text;', 0)
        self.check('lib/base/file.cc', '// strcpy(a, b)', 0)
        self.check('lib/base/file.cc', '/* a\n throw */ const char* t = "throw";', 0)

    def test_host(self):
        self.check('lib/base/file.cc', 'throw Error();', 1)
        self.check('lib/base/file.cc', 'throw std::bad_alloc();', 0)
        self.check('lib/base/file.cc', 'system(command);', 1)
        self.check('lib/toolkit/pack.cc', 'std::cout << 1;', 1)
        self.check('tools/tensorpatch/cmd_pack.cc', 'std::fprintf(stderr, "x");', 1)
        self.check('tools/tensorpatch/terminal.cc', 'std::fprintf(stderr, "x");', 0)
        self.check('tests/base/file_test.cc', 'std::fprintf(stderr, "x");', 0)

    def test_device(self):
        for code in ('double x;', 'auto p = new int;', 'auto p = malloc(3);', 'delete p;',
                     'virtual void f();', 'try {', '#ifdef SMALL', 'goto out;', 'throw 1;'):
            self.check('lib/apply/applier.cc', code, 1)
        self.check('lib/base/file.cc', 'double x; auto p = new int;', 0)
        self.check('lib/apply/applier.cc', 'A(const A&) = delete; int write_new = new_size;', 0)
        self.check('lib/apply/applier.cc', '// a new double', 0)
        self.check('lib/apply/include/tensorpatch/apply.h', '#ifdef __cplusplus', 0)


class Files(unittest.TestCase):
    def test_dead_files(self):
        used = {'lib/base/CMakeLists.txt': 'add_library(b file.cc)', 'lib/base/file.cc': '',
                'lib/base/file.h': '', 'lib/base/other.cc': '#include "base/file.h"\n'}
        self.assertEqual(count(tidy.dead_files, used), 1)
        used['CMakeLists.txt'] = 'lib/base/other.cc'
        self.assertEqual(count(tidy.dead_files, used), 0)
        used['lib/base/unused.h'] = ''
        self.assertEqual(count(tidy.dead_files, used), 1)
        listed = {'tests/fuzz/CMakeLists.txt': 'foreach(p IN ITEMS gguf)\nadd(fuzz_${p}.cc)',
                  'tests/fuzz/fuzz_gguf.cc': ''}
        self.assertEqual(count(tidy.dead_files, listed), 0)
        listed['tests/fuzz/fuzz_onnx.cc'] = ''
        self.assertEqual(count(tidy.dead_files, listed), 1)
        elsewhere = {'tests/base/CMakeLists.txt': 'file.cc', 'lib/base/file.cc': ''}
        self.assertEqual(count(tidy.dead_files, elsewhere), 1)
        elsewhere['tests/base/CMakeLists.txt'] = '${PROJECT_SOURCE_DIR}/lib/base/file.cc'
        self.assertEqual(count(tidy.dead_files, elsewhere), 0)
        matched = {'lib/apply/CMakeLists.txt': 'file(GLOB sources CONFIGURE_DEPENDS *.cc)',
                   'lib/apply/a.cc': ''}
        self.assertEqual(count(tidy.dead_files, matched), 0)
        matched['lib/apply/b.c'] = ''
        self.assertEqual(count(tidy.dead_files, matched), 1)

    def test_header_comments(self):
        def check(path, text, findings):
            self.assertEqual(count(tidy.header_comments, {path: text}), findings, text)
        check('lib/base/file.cc', HEAD.format('base/file.cc'), 0)
        check('lib/base/file.cc', HEAD.format('file.cc'), 0)
        check('lib/base/file.cc', HEAD.format('base/old_name.cc'), 1)
        check('lib/base/file.cc', '// base/file.cc: a test.\n', 1)
        check('lib/base/file.cc', '#include <x>\n' + HEAD.format('file.cc'), 1)
        check('lib/base/include/tensorpatch/result.h', HEAD.format('tensorpatch/result.h'), 0)
        check('scripts/a.py', '"""Does: a.py X\n\nSPDX-License-Identifier: Apache-2.0\n"""\n', 0)
        check('lib/base/file.cc', '// base/file.cc: a. SPDX-License-Identifier: Apache-2.0\n', 1)
        check('scripts/a.py', '"""Does.\n\nSPDX-License-Identifier: Apache-2.0\n"""\n', 1)
        check('tests/a.sh', '#!/bin/sh\n# a.sh: x.\n# SPDX-License-Identifier: Apache-2.0\n', 0)

    def test_text_form(self):
        def check(text, findings):
            self.assertEqual(count(tidy.text_form, {'lib/base/file.cc': text}), findings, text)
        check('x' * 100 + '\n', 0)
        check('x' * 101 + '\n', 1)
        check('\tx\n', 1)
        check('x \n', 1)
        check('x', 1)

    def test_names(self):
        guard = '#pragma once\n'
        self.assertEqual(count(tidy.names, {'lib/base/file.h': guard}), 0)
        self.assertEqual(count(tidy.names, {'lib/base/File.h': guard}), 1)
        self.assertEqual(count(tidy.names, {'lib/base/file-io.h': guard}), 1)
        self.assertEqual(count(tidy.names, {'lib/base/file.h': ''}), 1)

    def test_tests_assert(self):
        def check(code, findings):
            self.assertEqual(count(tidy.tests_assert, {'tests/a/a_test.cc': code}), findings, code)
        check('TEST(A, B) {\n  EXPECT_EQ(1, 1);\n}\n', 0)
        check('TEST(A, B) {\n  run();\n}\n', 1)
        check('TEST(A, B) {\n  // EXPECT_EQ(1, 1);\n}\n', 1)
        check('TEST(A, B) {\n  run();\n}\nTEST(A, C) {\n  FAIL();\n}\n', 1)
        check('void run(int a) {\n  ASSERT_EQ(a, 1);\n}\nTEST(A, B) {\n  run(1);\n}\n', 0)
        helpers = ('void look(int a) {\n  for (;;) {\n  }\n  EXPECT_EQ(a, 1);\n}\n'
                   'template <int>\nvoid run() {\n  look(1);\n}\nvoid other() {\n  f();\n}\n')
        check(helpers + 'TEST(A, B) {\n  run<1>();\n}\n', 0)
        check(helpers + 'TEST(A, B) {\n  other();\n}\n', 1)


class ApplySymbols(unittest.TestCase):
    @staticmethod
    def nm(*symbols):
        """What nm prints for pairs of a name and its class, with the section for a defined one."""
        lines = ['Name  Value  Class  Type  Size  Line  Section', 'applier.cc.o:']
        for name, kind, *section in symbols:
            lines.append(f'{name} |00|  {kind}  | OBJECT|04|    |{"".join(section) or "*UND*"}')
        return '\n'.join(lines)

    GOOD = [('tensorpatch_peek', 'T', '.text'), ('_ZN11tensorpatch5applyEv', 'T', '.text.apply'),
            ('tensorpatch_codec', 'D', '.data.rel.ro.tensorpatch_codec'), ('.LC0', 'r', '.rodata'),
            ('memcpy', 'U'), ('__aeabi_uldivmod', 'U')]

    def test_good(self):
        self.assertEqual(apply_symbols.findings(self.nm(*self.GOOD)), [])

    def test_bad(self):
        for symbol in (('malloc', 'U'), ('_Znwm', 'U'), ('__cxa_throw', 'U'), ('sin', 'U'),
                       ('__gxx_personality_v0', 'U'), ('__aeabi_dadd', 'U'),
                       ('count', 'b', '.bss.count'), ('table', 'd', '.data'),
                       ('peek', 'T', '.text')):
            found = apply_symbols.findings(self.nm(*self.GOOD, symbol))
            self.assertEqual(len(found), 1, symbol)
        self.assertEqual(len(apply_symbols.findings('')), 1)


if __name__ == '__main__':
    unittest.main()
