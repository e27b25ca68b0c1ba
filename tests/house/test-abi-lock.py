#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""The ABI lock holds, and would notice: test-abi-lock.py COMPILER..."""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__) + '/..')
import tap

ROOT = os.path.abspath(os.path.dirname(__file__) + '/../..')
CC = sys.argv[1:]


class Tree:
    """A copy of the headers and the lock, to change."""

    def __init__(self, folder):
        self.abi = f'{folder}/include/kho/abi'
        self.lock = f'{folder}/abi.lock'
        self.include = f'{folder}/include'
        shutil.copytree(f'{ROOT}/include/kho/abi', self.abi)
        # The lock of what is there: whether that is right is the first test.
        self.run('--update')

    def run(self, *args, cc=CC):
        ran = subprocess.run(
            [f'{ROOT}/scripts/abi-lock', '--include', self.include, '--lock',
             self.lock, *args, '--', *cc],
            text=True, capture_output=True)
        return ran.returncode, ran.stdout + ran.stderr

    def edit(self, header, *changes):
        with open(f'{self.abi}/{header}') as f:
            text = f.read()
        for old, new in changes:
            assert text.count(old), f'{header}: no "{old}"'
            text = text.replace(old, new, 1)
        with open(f'{self.abi}/{header}', 'w') as f:
            f.write(text)

    def version(self, header, name):
        with open(f'{self.abi}/{header}') as f:
            return int(re.search(rf'define {name} (\d+)', f.read())[1])

    def lines(self):
        with open(self.lock) as f:
            return f.read()


WIDER = 'struct kho_arena_slot {', 'struct kho_arena_slot {\n\tuint64_t more;'
WIDENED = '\tuint32_t reserved;\n\tuint32_t crc;\n};', \
    '\tuint64_t reserved;\n\tuint32_t crc;\n};'
BUMPED = 'define KHO_ARENA_VERSION 1', 'define KHO_ARENA_VERSION 2'


def refused(tree, *expected):
    """Neither right nor to be written down; the lock stays."""
    before = tree.lines()
    for args in [], ['--update']:
        code, out = tree.run(*args)
        if code != 1:
            yield f'{args}: exit {code}: {out}'
        for text in expected:
            if not re.search(text, out):
                yield f'{args}: no "{text}" in: {out}'
    if tree.lines() != before:
        yield 'the lock was written'


def accepted(tree, *expected):
    """Not right before it is written down."""
    code, out = tree.run()
    if code != 1 or '--update' not in out:
        yield f'exit {code}: {out}'
    for text in expected:
        if not re.search(text, out):
            yield f'no "{text}" in: {out}'
    for args in ['--update'], []:
        code, out = tree.run(*args)
        if code:
            yield f'{args}: exit {code}: {out}'


def locked(_):
    """the formats are those of tests/house/abi.lock"""
    ran = subprocess.run([f'{ROOT}/scripts/abi-lock', '--', *CC],
                         text=True, capture_output=True)
    if ran.returncode:
        yield ran.stdout + ran.stderr


def complete(tree):
    """the lock has every header, struct and constant of abi/"""
    locked_text = tree.lines()
    for path in glob.glob(f'{ROOT}/include/kho/abi/*.h'):
        with open(path) as f:
            text = f.read()
        for m in re.finditer(r'^(?:struct|union) \w+(?= \{)', text, re.M):
            if f'\n{m[0]}: ' not in locked_text:
                yield f'{path}: {m[0]}'
        for m in re.finditer(r'^#define (\w+)(?=\(| .)', text, re.M):
            if not re.search(rf'^{m[1]}\W', locked_text, re.M):
                yield f'{path}: {m[1]}'
        if f'\n@{os.path.basename(path)}\n' not in locked_text:
            yield path


def widened(tree):
    """a field that is widened without a new version is refused"""
    tree.edit('arena.h', WIDENED)
    yield from refused(
        tree, 'KHO_ARENA_VERSION did not; it must become 2',
        r'old  struct kho_arena_slot: 32 bytes(\n.*){4} 24 +4  uint32_t reserved',
        r'new  struct kho_arena_slot: 40 bytes(\n.*){4} 24 +8  uint64_t reserved')


def widened_and_bumped(tree):
    """with a new version it is written down"""
    tree.edit('arena.h', WIDENED, BUMPED)
    yield from accepted(tree, 'KHO_ARENA_VERSION was 1 and is 2',
                        'new  struct kho_arena_slot: 40 bytes')
    if 'KHO_ARENA_VERSION = 2' not in tree.lines():
        yield tree.lines()


def other_versions(tree):
    """the version of another header does not count, nor does a lower one"""
    tree.edit('block.h', ('uint32_t entry_size', 'uint64_t entry_size'))
    tree.edit('arena.h', BUMPED)
    n = tree.version('block.h', 'KHO_BLOCK_VERSION')
    yield from refused(tree, f'KHO_BLOCK_VERSION did not; it must become {n + 1}')
    tree.edit('block.h', (f'KHO_BLOCK_VERSION {n}', f'KHO_BLOCK_VERSION {n - 1}'))
    yield from refused(tree, f'KHO_BLOCK_VERSION was {n} and is {n - 1}')


def embedded(tree):
    """a change shows in another header that embeds the struct"""
    tree.edit('arena.h', WIDER)
    yield from refused(tree, 'struct kho_arena_super: 136 bytes')


def same_size(tree):
    """names, order, types and constants count, not only sizes"""
    for header, old, new in [
            ('arena.h', 'uint64_t fdt_size;', 'uint64_t fdt_bytes;'),
            ('arena.h', '\tuint64_t fdt;\n\tuint64_t fdt_size;',
             '\tuint64_t fdt_size;\n\tuint64_t fdt;'),
            ('arena.h', 'uint64_t generation;', 'int64_t generation;'),
            ('arena.h', 'ARENA_SLOTS 2', 'ARENA_SLOTS 1 + 2'),
            ('arena.h', '0x414e4552414f484bull', '0x424e4552414f484bull'),
            ('block.h', 'KHO_PTR(struct kho_block) first',
             'KHO_PTR(struct kho_block_v1) first'),
            ('compat.h', '".note.kho"', '".note.KHO"'),
            ('compat.h', "';'", "','"),
            ('kexec_handover.h', '(64 - (s) + 1)', '(64 - (s) + 2)'),
            ('update.h', '#define KHO_UPDATE_DONE 7\n', ''),
            ('update.h', '#define KHO_UPDATE_DONE 7',
             '#define KHO_UPDATE_DONE 7\n#define KHO_UPDATE_MORE 8'),
            ('ptr.h', 'uint64_t phys;', 'uint32_t phys;')]:
        tree.edit(header, (old, new))
        for problem in refused(tree, rf'(?m)^{header}: '):
            yield f'{old} -> {new}: {problem}'
        tree.edit(header, (new, old) if new else
                  ('KHO_UPDATE_COMMIT 6\n', 'KHO_UPDATE_COMMIT 6\n' + old))
    code, out = tree.run()
    if code:
        yield out


def no_change(tree):
    """what is no format does not count"""
    tree.edit('arena.h', ('ARENA_SLOTS 2', 'ARENA_SLOTS (1 + 1)'),
              ('@seq: sequence number', '@seq: number'),
              ('\tuint64_t seq;', '\n\n\tuint64_t   seq; /* of the slot */'))
    code, out = tree.run()
    if code:
        yield out


def new_and_gone(tree):
    """a header that comes or goes is written down"""
    with open(f'{tree.abi}/new.h', 'w') as f:
        f.write('#define KHO_NEW_VERSION 1\n'
                'enum kho_new { KHO_NEW_A = 3, KHO_NEW_B };\n'
                'struct kho_new_entry {\n\tunion { uint8_t a; uint16_t b; };\n'
                '\tstruct { uint8_t x; uint32_t y; } c[2];\n'
                '} __attribute__((packed));\n')
    yield from accepted(tree, 'new.h: not in the lock yet')
    for line in ['KHO_NEW_B = 4', 'struct kho_new_entry: 18 bytes',
                 '\t   0    2  uint16_t b',
                 '\t   2   16  struct { uint8_t x; uint32_t y; } c[2]']:
        if f'\n{line}\n' not in tree.lines():
            yield f'no "{line}" in: {tree.lines()}'
    tree.edit('new.h', ('KHO_NEW_A = 3', 'KHO_NEW_A = 2'))
    yield from refused(tree, 'old  KHO_NEW_B = 4\n +new  KHO_NEW_B = 3')
    os.remove(f'{tree.abi}/new.h')
    yield from accepted(tree, 'new.h: is gone')


def not_understood(tree):
    """what cannot be locked is an error"""
    for text, error in [
            ('', 'new.h: has 0 macros'),
            ('struct a { uint8_t x : 3; };', 'not one field'),
            ('struct a { uint8_t x, y; };', 'not one field'),
            ('typedef struct { uint8_t x; } a;', 'no layout and no constant'),
            ('static inline void f(void) {}', 'not understood'),
            ('#define KHO_NEW_VERSION 1\n'
             '#define KHO_NEW_A KHO_NOTE_OWNER', 'KHO_NEW_A')]:
        with open(f'{tree.abi}/new.h', 'w') as f:
            f.write(f'#define KHO_NEW_H\n{text}\n')
        for problem in refused(tree, error):
            yield f'{text}: {problem}'


def compilers_agree(tree):
    """gcc and clang see the same"""
    if not shutil.which('gcc') or not shutil.which('clang'):
        return None
    return [out for code, out in (tree.run(cc=['gcc']), tree.run(cc=['clang']))
            if code]


def in_a_tree(test):
    """The test, with a tree of its own."""
    def find():
        with tempfile.TemporaryDirectory() as folder:
            found = test(Tree(folder))
            return found if found is None else list(found)
    find.__doc__ = test.__doc__
    return tap.wrong(find, 'gcc or clang is missing')


tap.main([in_a_tree(test) for test in
          (locked, complete, widened, widened_and_bumped, other_versions,
           embedded, same_size, no_change, new_and_gone, not_understood,
           compilers_agree)])
