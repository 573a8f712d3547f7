#!/usr/bin/env python3
# tests/tidy/apply_symbols.py: the device library asks for nothing and keeps nothing.
#
# usage: apply_symbols.py NM ARCHIVE
# Its undefined symbols are the four memory functions and helpers of the compiler; it has no
# variables that can change; every name it exports begins with tensorpatch.
# SPDX-License-Identifier: Apache-2.0
import re
import subprocess
import sys

MEMORY = {'memcpy', 'memmove', 'memset', 'memcmp'}
# Arithmetic that a 32-bit core has no instruction for, stack protection, position-independent code.
HELPERS = re.compile(
    r'__aeabi_(u?ldivmod|u?idiv(mod)?|lmul|llsl|llsr|lasr|u?lcmp|unwind_cpp_pr[01])|'
    r'__aeabi_mem(cpy|move|set|clr)[48]?|'
    r'__(u?div|u?mod|u?divmod|ashl|ashr|lshr|mul|clz|ctz|popcount|bswap|u?cmp)[sdt]i[234]|'
    r'__gnu_thumb1_case_\w+|__stack_chk_(fail|guard)|_GLOBAL_OFFSET_TABLE_')
EXPORTED = re.compile(r'tensorpatch_\w+|_ZN[A-Z]*11tensorpatch\w+')


def findings(nm_output):
    """What is wrong with a library whose `nm --format=sysv` is given."""
    defined, undefined, result = set(), set(), []
    for line in nm_output.splitlines():
        fields = [field.strip() for field in line.split('|')]
        if len(fields) != 7 or not fields[2]:
            continue
        name, kind, section = fields[0], fields[2], fields[6]
        if kind in 'Uvw':
            undefined.add(name)
            continue
        defined.add(name)
        # .data.rel.ro holds constants with addresses in them.
        if re.match(r'\.(data|bss|tdata|tbss)(?!\.rel\.ro)|\*COM', section) and name[0] not in '.$':
            result.append(f'{name} is a variable that can change')
        if kind.isupper() and kind not in 'VW' and not EXPORTED.fullmatch(name):
            result.append(f'{name} is exported without the prefix')
    for name in sorted(undefined - defined - MEMORY):
        if not HELPERS.fullmatch(name):
            result.append(f'{name} is asked for')
    if not defined:
        result.append('the archive defines nothing')
    return result


def main():
    listed = subprocess.run([sys.argv[1], '--format=sysv', sys.argv[2]], capture_output=True,
                            text=True, check=True)
    found = findings(listed.stdout)
    print('\n'.join(found) or 'only memory functions and helpers of the compiler are asked for')
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main())
