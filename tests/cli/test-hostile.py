#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""Hostile manifests, from outside: test-hostile.py KHO PROGRAM

Whatever the bytes of a TARGET are, the command says in one line what is wrong
with it, and exits with 2.
"""
import copy
import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__) + '/..')
import tap

KHO, PROGRAM = (os.path.abspath(p) for p in sys.argv[1:3])
DIR = tempfile.mkdtemp(prefix='kho-hostile-')
NOTE, PROGBITS, STRTAB = 7, 1, 3


def kho(*args, code):
    done = subprocess.run([KHO, *args], capture_output=True, timeout=100,
                          errors='replace')
    assert done.returncode == code, f'not exit {code}: {done}'
    return done


def write(name, data):
    path = f'{DIR}/{name}'
    with open(path, 'wb') as f:
        f.write(data if isinstance(data, bytes) else data.encode())
    return path


def refused(cases):
    """cases: (content of the file, part of the message). All in one go."""
    paths = [write(f'case{i}', data) for i, (data, _) in enumerate(cases)]
    done = kho('manifest', *paths, code=2)
    assert not done.stdout, done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == len(cases), (len(lines), len(cases))
    for path, (data, why), line in zip(paths, cases, lines):
        assert line.startswith(f'kho: manifest: {path}: '), line
        message = line.removeprefix(f'kho: manifest: {path}: ')
        assert why in message, (why, message, data[:300])
        assert message.isprintable() and 10 < len(message) < 400, message
        os.unlink(path)


def cannot_check(data, name='bad'):
    """Nor is it a FROM or a TO."""
    bad = write(name, data)
    for args in (bad, PROGRAM), (PROGRAM, bad), (bad, bad):
        for option in [], ['--json']:
            done = kho('check', *option, *args, code=2)
            assert re.fullmatch(r'kho: check: [^\n]+\n', done.stderr), done
            assert not done.stdout


# ELF files

def elf(*sections, e_type=3, shnum=None, first_size=0, patch=None):
    """sections: (name, type, flags, bytes, claimed size or None)"""
    names, heads, body = b'\0', [], b''
    sections = [*sections, ('.shstrtab', STRTAB, 0, None, None)]
    for name, *_ in sections:
        names += name.encode() + b'\0'
    at = 1
    for name, kind, flags, data, claimed in sections:
        data = names if data is None else data
        body += bytes(-len(body) % 8)
        size = len(data) if claimed is None else claimed
        heads.append(struct.pack('<IIQQQQIIQQ', at, kind, flags, 0,
                                 64 + len(body), size, 0, 0, 4, 0))
        at += len(name) + 1
        body += data
    body += bytes(-len(body) % 8)
    n = len(heads) + 1
    header = struct.pack('<16sHHIQQQIHHHHHH', b'\x7fELF\2\1\1', e_type, 62, 1,
                         0, 0, 64 + len(body), 0, 64, 56, 0, 64,
                         n if shnum is None else shnum, n - 1)
    first = struct.pack('<IIQQQQIIQQ', 0, 0, 0, 0, 0, first_size, 0, 0, 0, 0)
    return header + body + first + b''.join(heads)


CONVERT = 32


def note(name='one', write=(1, 1), read=(1, 1), flags=0, deps=(),
         kind=1, namesz=4, descsz=None, owner=b'KHO\0'):
    desc = (name if isinstance(name, bytes) else name.encode()).ljust(24, b'\0')
    desc += struct.pack('<4I', *write, *read)
    desc += b''.join(d.ljust(24, b'\0') for d in deps).ljust(192, b'\0')
    desc += struct.pack('<I', flags)
    descsz = len(desc) if descsz is None else descsz
    return struct.pack('<III', namesz, descsz, kind) + owner + desc


def with_notes(*notes, claimed=None, **options):
    return elf(('.note.kho', NOTE, 2, b''.join(notes), claimed), **options)


def good_notes():
    """notes that are as they have to be, also of types that are not known"""
    for data in (with_notes(note()), with_notes(note(), note()),
                 with_notes(note(write=(1, 2), flags=CONVERT)),
                 with_notes(note(), note(name='two', flags=31)),
                 with_notes(note(), note(owner=b'GNU\0', flags=99)),
                 with_notes(note(kind=0), note(kind=2), note()),
                 with_notes(note(), e_type=2)):
        path = write('good', data)
        assert 'one' in kho('manifest', path, code=0).stdout
        kho('check', path, path, code=0)


def bad_notes():
    """notes: sizes, flags, ranges, names, contradictions"""
    cases = [
        (with_notes(note()[:-1]), 'over the end'),
        (with_notes(note()[:100]), 'over the end'),
        (with_notes(note(), b'\4\0\0'), 'over the end'),
        (with_notes(note(descsz=0xffffffff)), 'over the end'),
        (with_notes(note(descsz=0x7ffffff0)), 'over the end'),
        (with_notes(note(namesz=0xffffffff)), 'over the end'),
        (with_notes(note(namesz=0)), 'over the end'),
        (with_notes(note(descsz=232)), 'wrong size'),
        (with_notes(note(descsz=0)), 'wrong size'),
        (with_notes(note(flags=0x40)), 'unknown flags 0x40'),
        (with_notes(note(flags=0x80000000)), 'unknown flags'),
        (with_notes(note(write=(0, 1))), 'is no range'),
        (with_notes(note(read=(2, 1))), 'is no range'),
        (with_notes(note(read=(1, 0))), 'is no range'),
        (with_notes(note(write=(0, 0), read=(0, 0))), 'no version'),
        (with_notes(note(write=(1, 2))), 'no convert'),
        (with_notes(note(name='')), 'name'),
        (with_notes(note(name='Upper')), "'U' at byte 0"),
        (with_notes(note(name='a b')), '0x20 at byte 1'),
        (with_notes(note(name=b'a\x1b[1m')), '0x1b at byte 1'),
        (with_notes(note(name=b'a\xff')), '0xff at byte 1'),
        (with_notes(note(name=b'a\xc3\xa4')), '0xc3 at byte 1'),
        (with_notes(note(name='a-v1')), 'ends like a version'),
        (with_notes(note(name='a' * 24)), 'not terminated'),
        (with_notes(note(name=b'a\0b')), 'behind its end'),
        (with_notes(note(deps=[b'one'])), 'depends on itself'),
        (with_notes(note(deps=[b'a', b'a'])), 'twice'),
        (with_notes(note(deps=[b'a', b'', b'b'])), 'behind the end of the list'),
        (with_notes(note(deps=[b'a\n'])), '0x0a at byte 1'),
        (with_notes(note(deps=[b'a' * 24])), 'not terminated'),
        (with_notes(note(), note(write=(2, 2))), 'contradicts'),
        (with_notes(note(), note(flags=CONVERT)), 'contradicts'),
        (with_notes(note(), note(read=(1, 2))), 'contradicts'),
        (with_notes(note(), note(deps=[b'x'])), 'contradicts'),
        (with_notes(*(note(name=f'c{i}') for i in range(257))), 'more than 256'),
        (with_notes(note(owner=b'GNU\0')), 'no manifest'),
        (elf(('.note.kho', NOTE, 0, note(), None)), 'no manifest'),
    ]
    refused(cases)
    for data, _ in cases[::5]:
        cannot_check(data)


def truncated_elf():
    """ELF files, cut anywhere"""
    data = with_notes(note(), note(name='two'))
    refused([(data[:i], '') for i in range(len(data))])
    with open(PROGRAM, 'rb') as f:
        program = f.read()
    refused([(program[:i], '') for i in
             (1, 63, 64, 500, 4096, len(program) // 2, len(program) - 1)])


def huge_sections():
    """a file of 4 GiB, and headers that claim as much"""
    def sparse(data):
        path = write('sparse', data)
        os.truncate(path, (1 << 32) + (1 << 20))
        done = kho('manifest', path, code=2)
        assert re.fullmatch(r'kho: manifest: [^\n]+\n', done.stderr), done
        os.unlink(path)
        return done.stderr

    for size, why in ((1 << 32, 'too many notes'),
                      ((1 << 64) - 1, 'outside of the file')):
        assert why in sparse(with_notes(note(), claimed=size))
        assert why in sparse(elf(('.note.kho', PROGBITS, 2, note(), size)))
        assert 'outside of the file' in sparse(
            elf(('.liveupdate_versions', PROGBITS, 2, b'x' * 8, size)))
        refused([(with_notes(note(), claimed=size), 'outside of the file')])
    for count in 1 << 26, 1 << 32, (1 << 64) - 1:
        data = with_notes(note(), shnum=0, first_size=count)
        assert 'sections' in sparse(data)
        refused([(data, 'sections')])
    # Nothing of that has taken memory.
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert used < 300 << 10, used


def liveupdate():
    """.liveupdate_versions that say nothing, or nonsense"""
    def section(*strings, magic=0x4c565550, version=1, more=b''):
        data = struct.pack('<II', magic, version) + more.join(
            s.ljust(48, b'\0') for s in strings) + more
        return elf(('.liveupdate_versions', PROGBITS, 2, data, None), e_type=2)

    good = write('kernel', section(b'kho-v4', b'memfd-v2;vmalloc-v1'))
    assert 'as part of kho-v4' in kho('manifest', good, code=0).stdout
    kho('check', good, good, code=0)
    cases = [
        (section(b'kho-v4', magic=1), 'magic'),
        (section(b'kho-v4', version=2), 'newer'),
        (section(b'kho-v4', version=0), 'newer'),
        (section(b'kho-v4', more=b'\0'), 'size'),
        (section(b'x' * 48), 'not terminated'),
        (section(b''), 'empty token'),
        (section(b'kho'), 'no version'),
        (section(b'kho-v4;kho-v5'), 'two versions'),
        (section(b'kho-v4\x1b'), '0x1b'),
        (section(b'k\xff-v4'), '0xff'),
        (section(*[b'a-v1'] * 1025), 'too many'),
        (section(*[b'a%d-v1' % i for i in range(257)]), 'too many'),
        (section(b'a-v1;b-v1;c-v1;d-v1;e-v1;f-v1;g-v1;h-v1;i-v1', b'a-v1;j-v1'),
         'more than 8'),
        (section(), 'no manifest'),
        (elf(('.liveupdate_versions', PROGBITS, 2, b'PUVL', None)), 'short'),
    ]
    refused(cases)
    cannot_check(cases[0][0])


# JSON

def document(program=PROGRAM):
    return json.loads(kho('manifest', '--json', program, code=0).stdout)


def round_trip():
    """JSON that the command wrote is a TARGET, and the same one"""
    path = write('program.json', json.dumps(document()))
    first, again = document(), document(path)
    assert again.pop('target') == path and first.pop('target') == PROGRAM
    assert again == first
    for args in (PROGRAM, path), (path, PROGRAM), (path, path):
        kho('check', *args, code=0)
    # A path that is no UTF-8 is in a document that is.
    odd = f'{DIR}/odd-'.encode() + b'\xff\xfc\x80\x80\x80\xc0\x80'
    shutil.copy(write('note', with_notes(note())), odd)
    done = subprocess.run([KHO, 'manifest', '--json', odd],
                          capture_output=True, check=True)
    kho('manifest', write('odd.json', done.stdout), code=0)
    # As for people: what optional, handlers and callbacks are.
    for c in first['components']:
        c.update(optional=True, handler=True, check=True, can_write=True,
                 convert=True)
    shown = kho('manifest', write('all.json', json.dumps(first)), code=0).stdout
    assert 'optional,handler,check,can_write,convert' in shown


def truncated_json():
    """JSON, cut anywhere"""
    text = json.dumps(document()).encode()
    refused([(text[:i], 'ELF' if not i else '') for i in range(len(text))])
    cannot_check(text[:100])


def places(value, path=()):
    """Every place in a document, the document itself not"""
    items = (value.items() if isinstance(value, dict) else
             enumerate(value) if isinstance(value, list) else ())
    for key, inner in items:
        yield path + (key,)
        yield from places(inner, path + (key,))


def changed(doc, path, value):
    doc = copy.deepcopy(doc)
    inner = doc
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return doc


def in_words(path):
    words = ''
    for key in path:
        words += f'[{key}]' if isinstance(key, int) else \
            f'.{key}' if words else key
    return words


def wrong_types():
    """JSON: another type for each of its members; the message says where"""
    doc = document()
    doc['components'] = [c for c in doc['components'] if c['deps']][:1]
    good = {'sources': (list,), 'components': (list,), 'deps': (list,),
            'write': (dict, type(None)), 'read': (dict, type(None)),
            'version': (int,), 'min': (int,), 'max': (int,),
            'bundle': (str, type(None)), 'image': (dict, type(None))}
    others = [None, True, 1, 1.5, 'a', [], {}]
    cases = []
    for path in places(doc):
        was = doc
        for key in path:
            was = was[key]
        for value in others:
            types = good.get(path[-1], (type(was),))
            if isinstance(value, types) and \
                    not (isinstance(value, bool) and bool not in types):
                continue
            if isinstance(value, dict) and 'image' in path:
                continue
            cases.append((json.dumps(changed(doc, path, value)),
                          f'{in_words(path)}: '))
    assert len(cases) > 80, len(cases)
    refused(cases)


def numbers():
    """JSON: what is no version"""
    cases = []
    for number in ('0', '-1', '1e3', '1.0', '1.5', '4294967296',
                   '9223372036854775808', '18446744073709551615',
                   '18446744073709551616', '1' + '0' * 400, '1e400', '"1"',
                   'true', 'null', '[1]'):
        text = json.dumps(document())
        text = re.sub(r'"min": \d+', f'"min": {number}', text, count=1)
        cases.append((text, 'not an integer from 1 to 4294967295'))
    for number in '01', '+1', '.5', '1e', '--1', '0x1', 'NaN', 'Infinity', '-':
        text = json.dumps(document())
        text = re.sub(r'"min": \d+', f'"min": {number}', text, count=1)
        cases.append((text, 'line 1, column '))
    refused(cases)
    cannot_check(cases[0][0])


def bad_json():
    """JSON: duplicates, UTF-8, nesting, what is behind it, sizes"""
    doc = document()
    text = json.dumps(doc)
    one = {'name': 'one', 'read': {'min': 1, 'max': 1}}

    def component(**members):
        return json.dumps({**doc, 'components': [{**one, **members}]})

    cases = [
        ('{}', 'schema: is missing'),
        ('', 'neither an ELF file'),
        ('[]', 'neither an ELF file'),
        ('{', 'the end is missing'),
        (text + text, 'something behind the end'),
        (text + 'x', "unexpected 'x'"),
        (text + '\0', 'unexpected byte 0x00'),
        (text.replace('{', '{"version": 1, ', 1), "'version' is there twice"),
        (text.replace('{"name"', '{"name": "x", "name"', 1),
         "'name' is there twice"),
        (text.replace('"name"', '"n\\u0061me"', 1), 'an escape in the name'),
        (component(name='\ud800'), 'name'),
        (text.encode().replace(b'"name"', b'"na\xffme"', 1), 'not UTF-8'),
        (text.encode().replace(b'kho-manifest', b'kho\xc0\x80', 1),
         'not UTF-8'),
        (text.replace('kho-manifest', 'kho-report'), "not 'kho-manifest'"),
        (json.dumps({**doc, 'version': 2}), 'only version 1'),
        (json.dumps({**doc, 'components': [one, one]}), 'is there twice'),
        (json.dumps({**doc, 'components': []}), 'no component'),
        (json.dumps({**doc, 'components': [
            {**one, 'name': f'c{i}'} for i in range(257)]}),
         'more than 256'),
        (json.dumps({**doc, 'sources': ['x'] * 1025}), 'more than 1024'),
        (component(name='a' * 24), 'more than 23 characters'),
        (component(name='a' * 100000), 'more than 23 characters'),
        (component(name='a\u001bb'), '0x1b at byte 1'),
        (component(name='a\u0000b'), 'has a NUL in it'),
        (component(name='\u00e4'), '0xc3 at byte 0'),
        (component(deps=[f'd{i}' for i in range(9)]), 'more than 8'),
        (component(deps=['a', 'a']), 'twice'),
        (component(deps=['one']), 'depends on itself'),
        (component(read={'min': 2, 'max': 1}), 'is no range'),
        (component(read=None), 'no version at all'),
        (component(write={'min': 1, 'max': 2}, convert=False), 'no convert'),
        (component(source='nowhere'), 'sources'),
        ('{"x":' + '[' * 32 + ']' * 32 + '}', 'more than 32'),
        ('{"x":' + '[' * 5000000, 'more than 32'),
        ('{"x":[' + '{},' * 5000000, 'more than 100000 values'),
        ('{"x":"' + 'x' * (17 << 20) + '"}', 'more than 16 MiB'),
        ('{' + ' ' * (17 << 20) + '}', 'more than 16 MiB'),
    ]
    refused(cases)
    for data, _ in cases[:-5:4]:
        cannot_check(data)


TESTS = [good_notes, bad_notes, truncated_elf, huge_sections, liveupdate,
         round_trip, truncated_json, wrong_types, numbers, bad_json]


try:
    tap.main(TESTS, sys.argv[3:])
finally:
    shutil.rmtree(DIR, ignore_errors=True)
