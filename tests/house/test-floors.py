#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""The floors of the libraries: test-floors.py LIBKHO.A LIBKHO-INSPECT.A

What a file of a floor uses is on its own floor or below: read from the symbols
of the compiled objects, and from what the sources include.
"""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__) + '/..')
import tap

ROOT = os.path.abspath(os.path.dirname(__file__) + '/../..')
ARCHIVES = dict(zip(('lib', 'inspect'), map(os.path.abspath, sys.argv[1:])))

# From below; those of one line are neighbours and do not know each other.
FLOORS = [['base'], ['compat'], ['arena'], ['data', 'files'], ['handover'],
          ['inspect']]
# Whose public headers are whose.
PUBLIC = {
    'attach.h': 'handover', 'control.h': 'handover', 'fds.h': 'handover', 'update.h': 'handover', 'suspend.h': 'handover',
    'session.h': 'handover', 'fdnames.h': 'handover', 'profile.h': 'compat',
    'check.h': 'compat', 'report.h': 'compat', 'cmdline.h': 'inspect', 'compat.h': 'compat', 'manifest.h': 'compat',
    'arena.h': 'arena', 'pages.h': 'arena', 'state.h': 'arena',
    'tracker.h': 'arena', 'tree.h': 'arena', 'radix.h': 'arena',
    'block.h': 'data', 'kmalloc.h': 'data', 'varray.h': 'data',
    'vmalloc.h': 'data', 'xarray.h': 'data', 'dump.h': 'inspect',
    'fleet.h': 'inspect', 'image.h': 'inspect', 'linux.h': 'inspect',
    'luo.h': 'inspect', 'error.h': 'base', 'mem.h': 'base',
    'ptr.h': 'arena',
}
HEIGHT = {name: i for i, line in enumerate(FLOORS) for name in line}


def sources():
    """Each source file of the libraries, and its name without lib/."""
    for top in ARCHIVES:
        for folder, _, names in sorted(os.walk(f'{ROOT}/{top}')):
            for name in sorted(names):
                if name.endswith(('.c', '.h')):
                    path = os.path.relpath(f'{folder}/{name}', ROOT)
                    yield path, path.removeprefix('lib/')


def floor(name):
    return name.split('/')[0]


def folder(name):
    return os.path.dirname(name)


def objects():
    """{source: (symbols it defines, symbols it uses)}"""
    # Meson flattens paths in the names of objects.
    by_object = {path.split('/', 1)[1].replace('/', '_') + '.o': name
                 for path, name in sources() if path.endswith('.c')}
    found = {}
    for top, archive in ARCHIVES.items():
        out = subprocess.check_output(['nm', '-A', '--', archive], text=True)
        for line in out.splitlines():
            where, _, symbol = line.rpartition(' ')
            where, kind = where[:-1].rstrip(), where[-1]
            member = re.search(r'([^/:]+\.o):', where)[1]
            member = re.sub(r'^(\.\._)*', '', member)
            defined, used = found.setdefault(by_object[member], (set(), set()))
            if kind in 'Uwv':
                used.add(symbol)
            elif kind.isupper():
                defined.add(symbol)
    return found


def arrows():
    """{(user, used): symbols}, from file to file."""
    found = objects()
    home = {s: name for name, (defined, _) in found.items() for s in defined}
    result = {}
    for name, (_, used) in found.items():
        for symbol in used:
            if symbol in home and home[symbol] != name:
                result.setdefault((name, home[symbol]), []).append(symbol)
    return result


def all_there():
    """every source file is in a library"""
    files = {name for path, name in sources() if path.endswith('.c')}
    for name in sorted(files ^ set(objects())):
        yield f'{name}: not in a library, or not in the tree'


def downwards():
    """what a file uses is on its own floor or below"""
    between = {}
    for (user, used), symbols in sorted(arrows().items()):
        a, b = floor(user), floor(used)
        if a == b:
            continue
        between.setdefault(a, {}).setdefault(b, 0)
        between[a][b] += len(symbols)
        if HEIGHT[b] >= HEIGHT[a]:
            yield f'{user} uses {", ".join(sorted(symbols))} of {used}'
    for line in reversed(FLOORS):
        for name in line:
            below = between.get(name, {})
            print(f'#   {name:9}' + (' uses ' if below else '') + ', '.join(
                f'{b} ({n})' for b, n in sorted(
                    below.items(), key=lambda x: -HEIGHT[x[0]])), flush=True)


def no_circles():
    """no folder uses, by whatever way, one that uses it"""
    uses = {}
    for user, used in arrows():
        a, b = folder(user), folder(used)
        if a != b:
            uses.setdefault(a, set()).add(b)
    for start in sorted(uses):
        seen, todo = set(), list(uses[start])
        while todo:
            at = todo.pop()
            if at not in seen:
                seen.add(at)
                todo += uses.get(at, ())
        if start in seen:
            yield f'{start}: used by what it uses: {sorted(uses[start])}'


def includes():
    """no header of a floor above, nor the private one of somebody else"""
    for path, name in sources():
        with open(f'{ROOT}/{path}', encoding='utf-8') as f:
            text = f.read()
        for header in re.findall(r'^\s*#\s*include\s*"(.*)"', text, re.M):
            if floor(header) not in HEIGHT:
                yield f'{path}: includes "{header}", which is on no floor'
            elif HEIGHT[floor(header)] > HEIGHT[floor(name)] or (
                    floor(header) != floor(name) and
                    HEIGHT[floor(header)] == HEIGHT[floor(name)]):
                yield f'{path}: includes {header}, of a floor that it may not use'
            elif (os.path.basename(header) == 'private.h' and
                  folder(header) != folder(name) and
                  not folder(name).startswith(folder(header) + '/')):
                yield f'{path}: includes {header}, which is not its own'


def no_public_upwards():
    """public headers of floors above are not included"""
    public = {f for f in os.listdir(f'{ROOT}/include/kho') if f.endswith('.h')}
    for header in sorted(public ^ set(PUBLIC)):
        yield f'include/kho/{header}: on no floor, or not in the tree'
    headers = [(f'include/kho/{h}', PUBLIC[h]) for h in sorted(public)]
    for path, name in [*sources(), *headers]:
        with open(f'{ROOT}/{path}', encoding='utf-8') as f:
            text = f.read()
        for header in re.findall(r'^#include <kho/(\w+\.h)>', text, re.M):
            if HEIGHT[PUBLIC[header]] > HEIGHT[floor(name)]:
                yield f'{path}: includes <kho/{header}>, of {PUBLIC[header]}'


os.chdir(ROOT)
tap.main([tap.wrong(test, '') for test in
          (all_there, downwards, no_circles, includes, no_public_upwards)])
