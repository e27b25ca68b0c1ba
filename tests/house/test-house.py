#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""The rules of the tree: test-house.py COMPILER LIBKHO.SO LIBKHO-INSPECT.SO"""
import concurrent.futures
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
CC, LIBRARIES = sys.argv[1], [os.path.abspath(p) for p in sys.argv[2:]]


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
    """every public header compiles alone, as C and as C++"""
    def compile_one(compiler, path, std):
        language = 'c++' if '++' in std else 'c'
        # A header of macros alone leaves nothing, which ISO C forbids.
        text = f'#include <{path.removeprefix("include/")}>\nextern int some;\n'
        run = subprocess.run(
            [compiler, f'-std={std}', '-Wall', '-Wextra', '-pedantic', '-Werror',
             '-Iinclude', '-fsyntax-only', '-x', language, '-'],
            input=text, text=True, capture_output=True)
        if run.returncode:
            return f'{path}: {compiler} -std={std}: {run.stderr}'
        if language == 'c++' and path in functions and \
                'extern "C" {' not in lines(path):
            return f'{path}: declares functions without extern "C"'
        return None

    functions = {p for p in public_headers()
                 if any(re.match(r'\w.*\bkho_\w+\(', line) or
                        re.match(r'\w.*\bluo_\w+\(', line) for line in lines(p))}
    compilers = {CC} | {'clang'} if shutil.which('clang') else {CC}
    jobs = [(cc, p, std) for cc in compilers for p in public_headers()
            for std in ('c11', 'c17', 'c++17', 'c++20')]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from filter(None, pool.map(lambda job: compile_one(*job), jobs))


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


def exported(library):
    """The functions that a library exports; its other symbols."""
    out = subprocess.check_output(['nm', '-D', '--defined-only', library],
                                  text=True)
    symbols = [line.split()[1:] for line in out.splitlines()]
    names = {kind: {name.split('@')[0] for k, name in symbols if k == kind}
             for kind in {k for k, _ in symbols}}
    functions = set().union(*(names.pop(k, set()) for k in 'TWi'))
    names.pop('A', None)
    return functions, set().union(*names.values())


def exports():
    """the libraries export what the public headers declare, once"""
    public, all_functions = declared(), []
    for library in LIBRARIES:
        functions, others = exported(library)
        all_functions += functions
        for name in sorted(others):
            yield f'{name}: exported by {library}, and not a function'
    for name in sorted(set(all_functions) - public):
        yield f'{name}: exported, but not declared in include/'
    for name in sorted(public - set(all_functions)):
        yield f'{name}: declared in include/, but not exported'
    for name in sorted({f for f in all_functions if all_functions.count(f) > 1}):
        yield f'{name}: exported twice'


def maps():
    """each exported symbol is listed by name, in order"""
    for path in 'lib/libkho.map', 'inspect/libkho-inspect.map':
        with open(path, encoding='utf-8') as f:
            names = re.findall(r'^\t(.*);$', re.search(
                r'global:\n(.*)local:', f.read(), re.S)[1], re.M)
        for name in names:
            if not re.fullmatch(r'(kho|luo)_\w+', name):
                yield f'{path}: {name}: not a name that begins with kho_ or luo_'
        if names != sorted(set(names)):
            yield f'{path}: not sorted, or something is there twice'


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
          (spdx, headers_alone, abi_includes, exports, maps, formatted)])
