#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""What is installed is enough to compile with: test-install.py BUILD CC CXX"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__) + '/..')
import tap

ROOT = os.path.abspath(os.path.dirname(__file__) + '/../..')
BUILD, CC, CXX = sys.argv[1:]
DIR = tempfile.mkdtemp()
# Where the loader of a running sanitizer or a build looks is no help.
ENV = {k: v for k, v in os.environ.items()
       if k not in ('LD_LIBRARY_PATH', 'PKG_CONFIG_PATH')}


def run(*command, **more):
    return subprocess.run(command, check=True, text=True, env=ENV, cwd=DIR,
                          stdout=subprocess.PIPE, **more).stdout


def files():
    return sorted(os.path.join(folder, name)
                  for folder, _, names in os.walk(f'{DIR}/root') for name in names)


def flags(package):
    ENV['PKG_CONFIG_PATH'] = os.path.dirname(
        next(f for f in files() if f.endswith('libkho.pc')))
    ENV['PKG_CONFIG_SYSROOT_DIR'] = f'{DIR}/root'
    return run('pkg-config', '--cflags', '--libs', package).split()


def compile_one(compiler, source, std, out):
    run(compiler, f'-std={std}', '-Wall', '-Wextra', '-pedantic', '-Werror', source,
        '-o', out, *flags('libkho'))


def starts(program):
    """It counts, without a custodian."""
    lib = next(os.path.dirname(f) for f in files() if f.endswith('/libkho.so.0'))
    with subprocess.Popen([f'{DIR}/{program}'], stdout=subprocess.PIPE, text=True,
                          env={**ENV, 'LD_LIBRARY_PATH': lib}) as process:
        line = process.stdout.readline()
        process.kill()
    assert line.endswith(': 1\n'), line


def headers():
    """all headers, and no archive that nothing could be linked with"""
    run('meson', 'install', '-C', BUILD, '--no-rebuild', '--destdir', f'{DIR}/root')
    found = files()
    ours = subprocess.check_output([f'{ROOT}/scripts/sources'], cwd=ROOT, text=True)
    for header in re.findall(r'^(include/kho/.*\.h)$', ours, re.M):
        assert any(f.endswith('/' + header) for f in found), header
    assert not [f for f in found if f.endswith('.a')], found


def pkg_config():
    """the pkg-config files name nobody else's paths and packages"""
    for package in 'libkho', 'libkho-inspect':
        words = flags(package)
        for word in words:
            assert re.match(r'-lkho(-inspect)?$|-[IL]' + re.escape(DIR), word), words
        assert '-l' + package[3:] in words, words


def minimal():
    """examples/minimal compiles, in C and C++, and runs"""
    compile_one(CC, f'{ROOT}/examples/minimal/minimal.c', 'gnu11', 'minimal')
    starts('minimal')
    for std in 'c++17', 'c++20':
        compile_one(CXX, f'{ROOT}/examples/minimal/minimal.cpp', std, 'minimal++')
        starts('minimal++')


def documented():
    """the programs in README.md and libkho(3) compile"""
    for document in 'README.md', 'docs/man/libkho.3.scd':
        with open(f'{ROOT}/{document}', encoding='utf-8') as f:
            block = re.search(r'^```c?\n(#include.*?)^```', f.read(), re.M | re.S)[1]
        with open(f'{DIR}/program.c', 'w', encoding='utf-8') as f:
            f.write(block)
        run(CC, '-Wall', '-Wextra', '-Werror', 'program.c', '-o', 'program',
            *flags('libkho'))


try:
    tap.main([headers, pkg_config, minimal, documented])
finally:
    shutil.rmtree(DIR)
