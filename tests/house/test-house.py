#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""The rules of the tree: test-house.py COMPILER LIBKHO.SO"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__) + '/..')
import tap

ROOT = os.path.abspath(os.path.dirname(__file__) + '/../..')
SPDX = 'SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause'
CC, LIBKHO = sys.argv[1], os.path.abspath(sys.argv[2])


def sources():
    return subprocess.check_output([f'{ROOT}/scripts/sources'], cwd=ROOT,
                                   text=True).splitlines()


def public_headers():
    return sorted(f for f in sources() if re.match(r'include/.*\.h$', f))


def lines(path):
    with open(path, encoding='utf-8') as f:
        return f.read().split('\n')


def is_source(path):
    if path.startswith(('LICENSES/', 'tests/fuzz/seeds/')):
        return False
    if re.search(r'(\.([chS]|py|sh|map|scd)|(^|/)(Makefile|meson\.build|'
                 r'meson_options\.txt))$', path):
        return True
    with open(path, 'rb') as f:
        return f.read(2) == b'#!'


def spdx():
    """every source file starts with its licence"""
    for path in filter(is_source, sources()):
        head = lines(path)[:2]
        if not head[0].startswith('#!'):
            head = head[:1]
        if not any(SPDX in line for line in head):
            yield f'{path}: no "{SPDX}" in its first line'


def headers_alone():
    """every public header compiles alone"""
    for path in public_headers():
        header = path.removeprefix('include/')
        for std in 'c11', 'gnu11':
            gcc = subprocess.run(
                [CC, f'-std={std}', '-Wall', '-Wextra', '-Werror', '-Iinclude',
                 '-fsyntax-only', '-x', 'c', '-'],
                input=f'#include <{header}>\n', text=True, capture_output=True)
            if gcc.returncode:
                yield f'{path}: -std={std}: {gcc.stderr}'


def abi_includes():
    """abi/ headers include only abi/ and the standard integer headers"""
    allowed = re.compile(r'<(kho/abi/\w+\.h|std(int|def|bool)\.h)>')
    for path in public_headers():
        if not path.startswith('include/kho/abi/'):
            continue
        for n, line in enumerate(lines(path), 1):
            m = re.match(r'\s*#\s*include\s*(.*)', line)
            if m and not allowed.match(m[1]):
                yield f'{path}:{n}: includes {m[1]}'


def declared():
    """The functions that the public headers declare."""
    with tempfile.NamedTemporaryFile('r') as aux:
        subprocess.run(
            [CC, '-Iinclude', '-fsyntax-only', '-aux-info', aux.name, '-x',
             'c', '-'],
            input=''.join(f'#include <{p.removeprefix("include/")}>\n'
                          for p in public_headers()), text=True, check=True)
        # /* FILE:LINE:NC */ extern TYPE NAME (...); a body makes it NF.
        return set(re.findall(r'^/\* include/kho/[^*]*:NC \*/ extern [^(]*?'
                              r'(\w+) \(', aux.read(), re.M))


def exports():
    """libkho exports kho_ and luo_ symbols, and those it declares"""
    out = subprocess.check_output(['nm', '-D', '--defined-only', LIBKHO],
                                  text=True)
    symbols = {}
    for line in out.splitlines():
        _, kind, name = line.split()
        if kind != 'A':
            symbols[name.split('@')[0]] = kind
    functions = {name for name, kind in symbols.items() if kind in 'TWi'}
    for name in sorted(symbols):
        if not re.match(r'(kho|luo)_', name):
            yield f'{name}: exported, without the prefix kho_ or luo_'
    public = declared()
    for name in sorted(functions - public):
        yield f'{name}: exported, but not declared in include/'
    for name in sorted(public - functions):
        yield f'{name}: declared in include/, but not exported'


def formatted():
    """the C sources are formatted: make format"""
    if not shutil.which('clang-format'):
        return None
    run = subprocess.run(
        ['clang-format', '--dry-run', '-Werror', '-ferror-limit=1'] +
        [f for f in sources() if f.endswith(('.c', '.h'))],
        text=True, capture_output=True)
    return [run.stderr] if run.returncode else []


os.chdir(ROOT)
tap.main([tap.wrong(test, 'no clang-format') for test in
          (spdx, headers_alone, abi_includes, exports, formatted)])
