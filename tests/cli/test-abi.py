#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""kho abi, from outside: test-abi.py KHO COMPILER..."""
import copy
import glob
import hashlib
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.dirname(__file__) + '/../..')
sys.path.insert(0, os.path.dirname(__file__) + '/..')
import tap

KHO = os.path.abspath(sys.argv[1])
CC = sys.argv[2:]
DIR = tempfile.mkdtemp(prefix='kho-abi-')


def kho(*args, code=None, env=None, **options):
    """Runs the command; checks the exit code and the form of its errors."""
    done = subprocess.run([KHO, *args], capture_output=True, timeout=60,
                          errors='replace', env={**os.environ, **(env or {})},
                          **options)
    assert code in (None, done.returncode), f'not exit {code}: {done}'
    assert done.returncode in (0, 1, 2), done
    if done.returncode == 2:
        assert re.fullmatch(r'kho: abi: [^\n]+\n', done.stderr), done
        assert not done.stdout, done
    else:
        assert not done.stderr, done
    return done


def this_build():
    return json.loads(kho('abi', '--json', code=0).stdout)


def by_name(document):
    return {f['name']: f for f in document['formats']}


def save(document, name='document.json'):
    path = f'{DIR}/{name}'
    with open(path, 'wb' if isinstance(document, bytes) else 'w') as f:
        f.write(document if isinstance(document, (bytes, str))
                else json.dumps(document))
    return path


def describe(include, *compiler):
    return json.loads(subprocess.check_output(
        [f'{ROOT}/scripts/abi-lock', '--json', '--include', include, '--',
         *(compiler or CC)], text=True))


class Headers:
    """A copy of the headers, to change."""

    def __init__(self):
        self.include = f'{DIR}/include'
        shutil.rmtree(self.include, ignore_errors=True)
        shutil.copytree(f'{ROOT}/include', self.include)

    def edit(self, header, *changes):
        path = f'{self.include}/kho/abi/{header}'
        with open(path) as f:
            text = f.read()
        for old, new in changes:
            assert old in text, f'{header}: no "{old}"'
            text = text.replace(old, new, 1)
        with open(path, 'w') as f:
            f.write(text)

    def document(self):
        """Of a build with these headers, which reads all older versions."""
        document = describe(self.include)
        known = by_name(this_build())
        for f in document['formats']:
            for key in 'read', 'write':
                if was := known[f['name']][key]:
                    f[key] = {'min': was['min'], 'max': f['version']}
        return document


WIDER = '\tuint32_t reserved;\n\tuint32_t crc;\n};', \
    '\tuint64_t reserved;\n\tuint32_t crc;\n};'
BUMPED = 'define KHO_ARENA_VERSION 1', 'define KHO_ARENA_VERSION 2'


def diff(old, new, code, *args):
    """The document of what differs, after a look at the table."""
    old, new = save(old, 'old.json'), save(new, 'new.json')
    shown = kho('abi', '--diff', old, new, *args, code=code).stdout
    found = json.loads(
        kho('abi', '--diff', '--json', old, new, *args, code=code).stdout)
    assert found['schema'] == 'kho-abi-diff' and found['version'] == 1, found
    assert (found['old'], found['new']) == (old, new), found
    assert (found['result'] == 'broken') == (code == 1), found
    assert shown.startswith(f'{found["result"]}: {old} -> {new}\n'), shown
    for f in found['formats']:
        assert re.search(rf'^  {f["name"]} +{f["verdict"]} ', shown, re.M), shown
        assert not f['reason'] or f'  {f["name"]}: {f["reason"]}\n' in shown
        for change in f['changes']:
            assert re.search(rf'^  {re.escape(change["name"])}  ', shown,
                             re.M), (change, shown)
    return found


def verdicts(found, unless='unchanged'):
    return {f['name']: f['verdict'] for f in found['formats']
            if f['verdict'] != unless}


# What it says

def table():
    """the table shows what the document has"""
    shown = kho('abi', code=0).stdout
    rows = {line.split()[0]: line.split()[1:]
            for line in shown.splitlines() if line.startswith('  ')}
    assert rows.pop('FORMAT')[-1] == 'HEADER'

    def text(r):
        if not r:
            return '-'
        low, high = r['min'], r['max']
        return f'v{low}' if low == high else f'v{low}-v{high}'
    document = this_build()
    assert document['schema'] == 'kho-abi' and document['version'] == 1
    assert re.fullmatch(r'\d+\.\d+\.\d+', document['libkho'])
    assert set(rows) == set(by_name(document)) and len(rows) > 8
    for name, f in by_name(document).items():
        version = f'v{f["version"]}' if f['version'] else '-'
        assert rows[name] == [version, text(f['write']), text(f['read']),
                              f['fingerprint'][:12], f['header']], rows[name]
        line = f'\n{name} is no component: {f["title"]}\n'
        assert (line in shown) == (not f['component']), line
    names = [f['name'] for f in document['formats']]
    assert names == sorted(names)


def versions():
    """versions are those of the library, and no component is missing"""
    manifest = json.loads(subprocess.check_output(
        [KHO, 'manifest', '--json', KHO]))
    library = {c['name']: (c['write'], c['read'])
               for c in manifest['components']}
    formats = by_name(this_build())
    assert library == {n: (f['write'], f['read'])
                       for n, f in formats.items() if f['write'] or f['read']}
    for name, f in formats.items():
        assert f['component'] == (name not in ('compat', 'ptr')), name
        assert f['component'] or name not in library, name


def compiles(document, macros=''):
    """Does the compiler agree with a document? (does it, what it says)"""
    lines = ['#include <stdint.h>', '#include <stddef.h>']
    lines += [f'#include <{f["header"]}>' for f in document['formats']]
    for f in document['formats']:
        for c in f['constants']:
            name, value = c['name'], c['value']
            if value.startswith('"'):
                lines.append(f'_Static_assert(!__builtin_strcmp({name}, '
                             f'{value}), "{name}");')
            elif '(' not in name:
                # A literal of 64 bits, which is unsigned in C too.
                lines.append(f'_Static_assert((uint64_t){name} == '
                             f'(uint64_t){value}ull, "{name}");')
        for s in f['structs']:
            name = s['name']
            lines.append(f'_Static_assert(sizeof({name}) == {s["size"]}, '
                         f'"{name}");')
            for m in s['fields']:
                what = f'{name}, {m["name"]}'
                lines.append(f'_Static_assert(offsetof({what}) == '
                             f'{m["offset"]}, "{what}");')
                if not m['type'].endswith('[]'):
                    lines.append(
                        f'_Static_assert(sizeof((({name} *)0)->{m["name"]}) =='
                        f' {m["size"]}, "{what}");')
                if not m['type'].startswith('union {'):
                    lines.append(
                        f'_Static_assert(__builtin_types_compatible_p(__typeof'
                        f'((({name} *)0)->{m["name"]}), __typeof({m["type"]}'
                        f')), "{what}: {m["type"]}");')
    done = subprocess.run(
        [*CC, '-std=gnu11', f'-I{ROOT}/include', '-fsyntax-only', '-x', 'c',
         '-'], input='\n'.join(lines) + '\n', text=True, capture_output=True)
    return done.returncode == 0, done.stderr


def numbers():
    """the compiler agrees with each number and each type"""
    document = this_build()
    agrees, said = compiles(document)
    assert agrees, said

    def wrong(change):
        other = copy.deepcopy(by_name(document))
        change(other)
        agrees, _ = compiles({'formats': list(other.values())})
        assert not agrees

    def set_field(key, value):
        return lambda f: f['arena']['structs'][1]['fields'][2].update(
            {key: value})
    wrong(lambda f: f['arena']['constants'][0].update(value='0x1'))
    wrong(lambda f: f['arena']['structs'][0].update(size=33))
    wrong(set_field('offset', 13))
    wrong(set_field('size', 5))
    wrong(set_field('type', 'int32_t'))


def complete():
    """no header, constant, struct or field is missing"""
    formats = {f['header']: f for f in this_build()['formats']}
    paths = glob.glob(f'{ROOT}/include/kho/abi/*.h')
    assert len(formats) == len(paths)
    for path in paths:
        f = formats[os.path.relpath(path, f'{ROOT}/include')]
        with open(path) as file:
            text = re.sub(r'/\*.*?\*/', '', file.read(), flags=re.S)
        text = text.replace('\\\n', '')
        defined = {name + parameters.replace(' ', '')
                   for name, parameters, value in
                   re.findall(r'^#define (\w+)(\([^)]*\))?(.*)$', text, re.M)
                   if value.strip()}
        listed = {c['name'] for c in f['constants']}
        # All but one, which is the version.
        assert listed <= defined, listed - defined
        assert len(defined) - len(listed) == (f['version'] is not None), defined
        structs = {name: re.findall(r'(\w+)(?:\[[^\]]*\])*;', body)
                   for name, body in re.findall(
                       r'^(?:__extension__ )?((?:struct|union) \w+) \{\n(.*?)^\}', text,
                       re.M | re.S)}
        assert structs == {s['name']: [m['name'] for m in s['fields']]
                           for s in f['structs']}


def fingerprints():
    """a fingerprint is the SHA-256 of what docs/schemas.md says"""
    for f in this_build()['formats']:
        lines = [f'{c["name"]} = {c["value"]}' for c in f['constants']]
        for s in f['structs']:
            lines.append(f'{s["name"]}: {s["size"]}')
            lines += ['{}.{name}: {offset} {size} {type}'.format(s['name'], **m)
                      for m in s['fields']]
        text = ''.join(line + '\n' for line in sorted(lines))
        assert f['fingerprint'] == hashlib.sha256(text.encode()).hexdigest(), f


def compilers():
    """gcc and clang see the layouts of this build, with any options"""
    if not shutil.which('gcc') or not shutil.which('clang'):
        raise tap.Skip('gcc or clang is missing')
    expected = [{**f, 'write': None, 'read': None}
                for f in this_build()['formats']]
    for compiler in (['gcc'], ['clang'], ['gcc', '-O2', '-flto', '-g'],
                     ['clang', '-flto', '-fsanitize=address,undefined']):
        assert describe(f'{ROOT}/include', *compiler)['formats'] == expected, \
            compiler


def options():
    """options that change a layout change its fingerprint"""
    ours = by_name(this_build())
    other = by_name(describe(f'{ROOT}/include', *CC, '-fpack-struct=2'))
    assert ours['kmalloc']['fingerprint'] == other['kmalloc']['fingerprint']
    headers = Headers()
    headers.edit('kmalloc.h', ('uint32_t first;', 'uint16_t first;'))
    one = by_name(describe(headers.include))['kmalloc']['fingerprint']
    two = by_name(describe(headers.include, *CC, '-fpack-struct=1'))
    assert one != two['kmalloc']['fingerprint']


def dependencies():
    """the build knows which files it depends on"""
    headers = Headers()
    output, depfile = f'{DIR}/abi table.c', f'{DIR}/abi.d'
    subprocess.check_call(
        [f'{ROOT}/scripts/abi-lock', '--include', headers.include, '--c',
         output, '--depfile', depfile, '--', *CC])
    with open(depfile) as f:
        target, needed = f.read().strip().split(': ')
    assert target == output.replace(' ', '\\ '), target
    folder = f'{headers.include}/kho/abi'
    assert set(needed.split()) == {folder, *glob.glob(f'{folder}/*.h')}
    with open(output) as f:
        assert '#include "abi.h"\n' in f.read()


# What differs

def unchanged():
    """a build does not differ from itself, whichever way it is asked"""
    path = save(kho('abi', '--json', code=0).stdout)
    expected = dict.fromkeys(by_name(this_build()), 'unchanged')
    for args in ([path], [path, path]):
        found = json.loads(
            kho('abi', '--json', '--diff', *args, code=0).stdout)
        assert verdicts(found, None) == expected, found
        assert found['result'] == 'unchanged'
        assert found['new'] == (args[1] if args[1:] else None)
        assert all(f['old'] == f['new'] and f['changes'] == []
                   for f in found['formats'])
    with open(path) as f:
        shown = kho('abi', '--diff', '-', code=0, stdin=f).stdout
    assert shown.startswith('unchanged: - -> this build\n'), shown
    ours = this_build()
    reordered = copy.deepcopy(ours)
    reordered['formats'].reverse()
    for f in reordered['formats']:
        f['constants'].reverse()
        f['structs'].reverse()
        f['more'] = {}  # what a later version may add
    assert not verdicts(diff(ours, reordered, 0))


def changed_field():
    """a field changes, the version does not: 1, and the field is named"""
    headers = Headers()
    headers.edit('arena.h', WIDER)
    new = headers.document()
    ours = this_build()
    for name, f in by_name(new).items():
        assert (f['fingerprint'] != by_name(ours)[name]['fingerprint']) == \
            (name == 'arena'), name
    found = diff(ours, new, 1)
    assert verdicts(found) == {'arena': 'layout-changed'}, found
    arena = found['formats'][0]
    assert arena['name'] == 'arena', 'the offending is not the first'
    assert 'WITHOUT A NEW VERSION' in arena['reason'], arena
    assert 'kho/abi/arena.h' in arena['reason'], arena
    assert {'name': 'struct kho_arena_slot.reserved',
            'old': 'at 24, 4 bytes, uint32_t',
            'new': 'at 24, 8 bytes, uint64_t'} == arena['changes'][1], arena
    # In the order in which they are in memory.
    assert [c['name'] for c in arena['changes']] == [
        'struct kho_arena_slot', 'struct kho_arena_slot.reserved',
        'struct kho_arena_slot.crc', 'struct kho_arena_super',
        'struct kho_arena_super.slot'], arena['changes']
    shown = kho('abi', '--diff', save(new, 'new.json'), code=1).stdout
    assert re.search(r'struct kho_arena_slot +40 bytes +32 bytes\n', shown)


def changed_anything():
    """names, types, order, constants and links count, comments do not"""
    ours = this_build()
    for header, name, old, new in (
            ('arena.h', 'arena', 'uint64_t fdt_size;', 'uint64_t fdt_bytes;'),
            ('arena.h', 'arena', 'uint64_t generation;', 'int64_t generation;'),
            ('arena.h', 'arena', '\tuint64_t fdt;\n\tuint64_t fdt_size;',
             '\tuint64_t fdt_size;\n\tuint64_t fdt;'),
            ('arena.h', 'arena', 'KHO_ARENA_ID_SIZE 16',
             'KHO_ARENA_ID_SIZE 16\n#define KHO_ARENA_MORE 1'),
            ('block.h', 'block', 'KHO_PTR(struct kho_block) next',
             'KHO_PTR(struct kho_block_v1) next'),
            ('block.h', 'block', '0x4b4c424bu', '0x4c4c424bu'),
            ('kexec_handover.h', 'kho', '"blob-size"', '"size"'),
            ('kexec_handover.h', 'kho', '(64 - (s) + 1)', '(64 - (s) + 2)'),
            ('compat.h', 'compat', "';'", "','"),
            ('varray.h', 'varray', 'char type[', 'uint8_t type[')):
        headers = Headers()
        headers.edit(header, (old, new))
        found = diff(ours, headers.document(), 1)
        assert verdicts(found) == {name: 'layout-changed'}, (old, found)
    headers = Headers()
    headers.edit('ptr.h', ('uint64_t phys;', 'uint32_t phys;'))
    found = diff(ours, headers.document(), 1)
    assert verdicts(found)['ptr'] == verdicts(found)['block'] == \
        'layout-changed'
    headers = Headers()
    headers.edit('arena.h', ('ARENA_SLOTS 2', 'ARENA_SLOTS (1 + 1)'),
                 ('@seq: sequence number', '@seq: number'),
                 ('\tuint64_t seq;', '\n\n\tuint64_t   seq; /* of it */'))
    assert not verdicts(diff(ours, headers.document(), 0))


def bumped():
    """with a new version it may change"""
    headers = Headers()
    headers.edit('arena.h', WIDER, BUMPED)
    found = diff(this_build(), headers.document(), 0)
    assert verdicts(found) == {'arena': 'version-changed'}, found
    arena = found['formats'][0]
    assert arena['old']['version'] == 1 and arena['new']['version'] == 2
    assert arena['changes'] and not arena['reason'], arena
    assert found['result'] == 'versioned'
    headers = Headers()
    headers.edit('compat.h', ('COMPONENT 1', 'COMPONENT 2'),
                 ('KHO_TOKEN_SIZE 36', 'KHO_TOKEN_SIZE 40'))
    found = diff(this_build(), headers.document(), 0)
    assert verdicts(found) == {'compat': 'version-changed'}, found
    # The meaning may change without the layout.
    headers = Headers()
    headers.edit('arena.h', BUMPED)
    found = diff(this_build(), headers.document(), 0)
    assert verdicts(found) == {'arena': 'version-changed'}, found
    assert not found['formats'][0]['changes']


def gone():
    """what could be read before cannot be read any more: 1"""
    ours = this_build()
    less = copy.deepcopy(ours)
    less['formats'] = [f for f in less['formats'] if f['name'] != 'block']
    found = diff(ours, less, 1)
    assert verdicts(found) == {'block': 'removed'}, found
    assert found['formats'][0]['new'] is None
    found = diff(less, ours, 0)
    assert verdicts(found) == {'block': 'added'}, found
    assert found['formats'][0]['old'] is None

    less = copy.deepcopy(ours)
    top = by_name(ours)['block']['read']['max']
    by_name(less)['block'].update(read={'min': top, 'max': top})
    found = diff(ours, less, 1)
    assert verdicts(found) == {'block': 'narrowed'}, found
    reason = found['formats'][0]['reason']
    assert f'read v1-v{top} before, now v{top}' in reason, found
    assert verdicts(diff(less, ours, 0)) == {'block': 'version-changed'}
    by_name(less)['block'].update(read=None)
    assert verdicts(diff(ours, less, 1)) == {'block': 'narrowed'}
    # Versions that are not written any more hurt nobody.
    less = copy.deepcopy(ours)
    by_name(less)['block'].update(write={'min': top, 'max': top})
    assert verdicts(diff(ours, less, 0)) == {'block': 'version-changed'}
    # One that is no component has only its version.
    less = copy.deepcopy(ours)
    by_name(less)['memfd'].update(version=1)
    assert verdicts(diff(ours, less, 1)) == {'memfd': 'narrowed'}


def worst_first():
    """the offending come first, by how bad they are"""
    headers = Headers()
    headers.edit('arena.h', BUMPED)
    headers.edit('xarray.h', ('SHIFT_MAX 60', 'SHIFT_MAX 54'))
    new = headers.document()
    new['formats'] = [f for f in new['formats'] if f['name'] != 'varray']
    by_name(new)['block'].update(read={'min': 2, 'max': 2})
    old = this_build()
    old['formats'] = [f for f in old['formats'] if f['name'] != 'kmalloc']
    found = diff(old, new, 1)
    assert list(verdicts(found).items()) == [
        ('xarray', 'layout-changed'), ('varray', 'removed'),
        ('block', 'narrowed'), ('arena', 'version-changed'),
        ('kmalloc', 'added')], found


# What is not a document

def contradiction():
    """a fingerprint that is not of its layout is not believed"""
    ours = this_build()
    for key, value in ('fingerprint', '0' * 64), ('constants', []):
        other = copy.deepcopy(ours)
        by_name(other)['block'][key] = value
        done = kho('abi', '--diff', save(other), code=2)
        assert 'block: layout and fingerprint contradict' in done.stderr, done


def edited(change):
    document = this_build()
    change(document, by_name(document))
    return document


def hostile():
    """everything else is an error that says where"""
    text = json.dumps(this_build())
    manifest = subprocess.check_output([KHO, 'manifest', '--json', KHO])
    cases = [
        (b'', ''), (b'\0', ''), (b'[]', ''), (b'null', ''), (b'{}', 'schema'),
        (manifest, 'schema'), (text + '{}', ''), (text + '\0', ''),
        (text.replace('"title"', "'title'", 1), ''),
        (text.replace('"title"', '"t\xfftle"', 1).encode('latin-1'), ''),
        (text.replace('"title":', '"title": "x", "title":', 1), 'title'),
        ('{"a":' * 100000, ''), ('[' * 100000, ''),
        ('{"a":' + '[' + '1,' * 2000000 + '1]}', ''),
        (b'{"schema": "' + b'a' * (17 << 20) + b'"}', 'MiB'),
        (edited(lambda d, f: d.update(version=2)), 'version'),
        (edited(lambda d, f: d.update(version='1')), 'version'),
        (edited(lambda d, f: d.update(formats=[])), 'formats'),
        (edited(lambda d, f: d.update(formats={})), 'formats'),
        (edited(lambda d, f: d.update(formats=[1])), 'formats[0]'),
        (edited(lambda d, f: d['formats'].append(f['block'])),
         "'block' is there twice"),
        (edited(lambda d, f: f['block'].update(structs=f['block']['structs'] +
                                               f['block']['structs'][:1])),
         'struct kho_block_root is there twice'),
    ]
    for key in ('name', 'component', 'title', 'header', 'version', 'write',
                'read', 'fingerprint', 'constants', 'structs'):
        cases.append((edited(lambda d, f, k=key: f['arena'].pop(k)),
                      f'formats[0].{key}'))
    for key, values in {
            'name': ('', 1, None, 'a\0b'), 'component': (1, 'true', None),
            'title': ('',), 'header': ('', []),
            'version': (0, -1, 1.5, 1 << 32, 1 << 64, '1', {}),
            'write': (1, {}, {'min': 2, 'max': 1}, {'min': 0, 'max': 0},
                      {'min': 1, 'max': 1 << 32}), 'read': ([],),
            'fingerprint': ('', 'a' * 63, 'A' * 64, 'g' * 64, 'a' * 65),
            'constants': (None, {}, [1], [{}], [{'name': 'X', 'value': 1}],
                          [{'name': '', 'value': '1'}],
                          [{'name': 'X', 'value': '1'}] * 2),
            'structs': (None, [None], [{}],
                        [{'name': 'struct x', 'size': -1, 'fields': []}],
                        [{'name': 'struct x', 'size': 1 << 40, 'fields': []}],
                        [{'name': 'struct x', 'size': 1, 'fields': 1}],
                        [{'name': 'struct x', 'size': 1, 'fields': [
                            {'name': 'a', 'offset': '0', 'size': 1,
                             'type': 'char'}]}])}.items():
        for value in values:
            cases.append((edited(
                lambda d, f, k=key, v=value: f['arena'].update({k: v})),
                'formats[0]'))
    for n in range(0, len(text) - 1, len(text) // 40):
        cases.append((text[:n], ''))
    for document, what in cases:
        path = save(document, 'hostile.json')
        for args in [path], [save(text, 'good.json'), path]:
            done = kho('abi', '--diff', *args, code=2)
            assert path in done.stderr and what in done.stderr, (what, done)


def terminal():
    """names that would play with the terminal do not reach it"""
    old, new = this_build(), this_build()
    evil = 'x\033[2J\n\x7f\u00e9'
    for d, fingerprint in (old, '0' * 64), (new, '1' * 64):
        f = by_name(d)['block']
        f.update(fingerprint=fingerprint, header=evil, name=evil, title=evil)
        f['constants'] = [{'name': evil, 'value': fingerprint[:2] + evil}]
    done = kho('abi', '--diff', save(old, 'old.json'), save(new, 'new.json'),
               code=1)
    assert 'x?[2J??\u00e9: LAYOUT CHANGED' in done.stdout, done
    assert not re.search('[\x00-\x09\x0b-\x1f\x7f]', done.stdout), done


def files():
    """files that cannot be read, and a wrong number of them"""
    good = save(this_build())
    for args, why in (
            ([f'{DIR}/missing'], 'No such file'), ([DIR], 'Is a directory'),
            (['/dev/null'], ''), (['/dev/zero'], 'MiB'),
            ([good, f'{DIR}/missing'], 'missing: No such file'),
            ([], '--help'), ([good, good, good], '--help')):
        done = kho('abi', '--diff', *args, code=2)
        assert why in done.stderr, (args, done)
    assert 'only --diff' in kho('abi', good, code=2).stderr
    assert 'unknown option --frob' in kho('abi', '--frob', code=2).stderr
    # Standard input is there once.
    with open(good) as f:
        kho('abi', '--diff', '-', '-', code=2, stdin=f)


def other_library():
    """a library of another build is noticed"""
    shared = f'{DIR}/other.so'
    source = save('#include <kho/compat.h>\n'
                  'KHO_COMPONENT(other, .read = { 1, 1 });\n', 'other.c')
    subprocess.check_call([*CC, '-shared', '-fPIC', f'-I{ROOT}/include',
                           '-o', shared, source])
    done = kho('abi', code=2, env={
        'LD_PRELOAD': shared,
        'ASAN_OPTIONS': os.environ.get('ASAN_OPTIONS', '') +
        ':verify_asan_link_order=0'})
    assert 'not of the same build' in done.stderr, done


def full():
    """an answer that cannot be written is no answer"""
    path = save(this_build())
    with open('/dev/full', 'w') as full_file:
        for args in ([], ['--json'], ['--help'], ['--diff', path],
                     ['--diff', '--json', path]):
            done = subprocess.run([KHO, 'abi', *args], stdout=full_file,
                                  stderr=subprocess.PIPE, text=True)
            assert done.returncode == 2, (args, done)
            assert 'No space left on device' in done.stderr, done


def color():
    """colours on a terminal, and only there"""
    headers = Headers()
    headers.edit('arena.h', WIDER)
    path = save(headers.document())
    ours, theirs = pty.openpty()
    done = subprocess.run([KHO, 'abi', '--diff', path], stdout=theirs,
                          env={**os.environ, 'TERM': 'xterm', 'NO_COLOR': ''})
    os.close(theirs)
    shown = b''
    try:
        while more := os.read(ours, 65536):
            shown += more
    except OSError:
        pass  # the end, on Linux
    os.close(ours)
    assert done.returncode == 1
    assert b'\033[1;31mbroken\033[0m: ' in shown, shown
    assert b'\033[1;31mlayout-changed\033[0m ' in shown, shown
    assert '\033' not in kho('abi', '--diff', path, code=1).stdout


TESTS = [table, versions, numbers, complete, fingerprints, compilers, options,
         dependencies, unchanged, changed_field, changed_anything, bumped, gone,
         worst_first, contradiction, hostile, terminal, files, other_library,
         full, color]


try:
    tap.main(TESTS)
finally:
    shutil.rmtree(DIR, ignore_errors=True)
