#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""kho matrix and kho plan: test-fleet.py KHO TALLY-V1 TALLY-V2 TALLY-V3 \
KVSTORE-V1 KVSTORE-V2"""
import collections
import json
import os
import pty
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
import xml.etree.ElementTree as ET

sys.path.insert(0, os.path.dirname(__file__) + '/..')
import tap

KHO, V1, V2, V3, KV1, KV2 = (os.path.abspath(p) for p in sys.argv[1:7])
TEMPORARY = tempfile.TemporaryDirectory(prefix='kho-fleet-')
DIR = TEMPORARY.name
ENV = {**os.environ, 'KHO_RUNTIME_DIR': f'{DIR}/run'}
PATIENCE = 20
SVG = '{http://www.w3.org/2000/svg}'
# What a cell of a picture is, by its class.
PASSES = {'t0', 't1', 't2', 't3'}


def kho(*args, code=None, **options):
    """Runs the command; checks the exit code and the form of its errors."""
    done = subprocess.run([KHO, *args], capture_output=True, timeout=240,
                          env=ENV, errors='replace', **options)
    if code is not None:
        assert done.returncode == code, \
            f'exit {done.returncode}, not {code}: {done}'
    assert re.fullmatch(r'(kho: [^\n]+: [^\n]+\n)*', done.stderr), done
    return done


def matrix(*args, code=None, **options):
    """The document of kho matrix, checked for what must always hold."""
    done = kho('matrix', '--json', *args, code=code, **options)
    m = json.loads(done.stdout)
    assert (m['schema'], m['version']) == ('kho-matrix', 1), m
    rows = m['rows']
    n = len(m['classes'])
    assert len(rows) == n and all(len(row) == n for row in rows), rows
    count = collections.Counter(''.join(rows))
    assert m['pairs'] == {'compatible': count['.'], 'older': count['o'],
                          'degraded': count['d'], 'incompatible': count['X']}
    assert set(count) <= set('.odX'), count
    assert len(m['reasons']) + m['more_reasons'] == count['X'] + count['d']
    for r in m['reasons']:
        letter = {'incompatible': 'X', 'degraded': 'd'}[r['outcome']]
        assert rows[r['from']][r['to']] == letter and r['reason'], r
    expected = 2 if m['unreadable'] else 1 if count['X'] else \
        3 if count['d'] else 0
    assert done.returncode == expected, (done.returncode, expected)
    return m


def plan(*args, code=None, **options):
    """The document of kho plan, checked for what must always hold."""
    done = kho('plan', *args, '--json', code=code, **options)
    p = json.loads(done.stdout)
    assert (p['schema'], p['version']) == ('kho-plan', 1), p
    assert (p['gap'] is None) == (p['outcome'] != 'incompatible'), p
    if p['gap']:
        assert p['updates'] == [], p
    elif p['updates']:
        assert p['updates'][-1]['to'] == p['to'], p
    degraded = any(u['outcome'] == 'degraded' for u in p['updates'])
    assert degraded == (p['outcome'] == 'degraded'), p
    expected = {'compatible': 0, 'incompatible': 1, 'degraded': 3}
    assert done.returncode == \
        (2 if p['unreadable'] else expected[p['outcome']]), (done.returncode, p)
    return p


def chain(p):
    return [p['from'], *(update['to'] for update in p['updates'])]


def check(a, b, *options):
    return kho('check', a, b, *options).returncode


# Manifests

def versions(low, high):
    return {'min': low, 'max': high} if high else None


def component(name, write, read, *deps, structure=False, optional=False):
    return {'name': name, 'write': versions(*write), 'read': versions(*read),
            'structure': structure, 'optional': optional, 'deps': list(deps),
            'convert': write[0] < write[1]}


def manifest(name, *components):
    """Writes one; its path."""
    path = f'{DIR}/{name}'
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='utf-8') as file:
        json.dump({'schema': 'kho-manifest', 'version': 1, 'components':
                   sorted(components, key=lambda c: c['name'])}, file)
    return path


def app(name, write, read, *others):
    return manifest(name, component('app', write, read), *others)


def releases(directory, n):
    """Each reads its own version and the one before."""
    return [app(f'{directory}/v{i}', (i, i), (max(1, i - 1), i))
            for i in range(1, n + 1)]


def text_file(name, content):
    path = f'{DIR}/{name}'
    with open(path, 'wb') as file:
        file.write(content if isinstance(content, bytes) else content.encode())
    return path


CACHE = component('cache', (1, 1), (1, 1), optional=True)


def random_fleet(directory, n):
    """Manifests that differ, and their paths."""
    paths = []
    names = ['app', 'cache', 'index', 'log', 'table'][:random.randint(1, 5)]
    for i in range(n):
        components = []
        for name in names:
            if components and random.random() < .2:
                continue
            high = random.randint(1, 3)
            low = random.choice([high, random.randint(1, high)])
            deps = [d for d in names if d != name and random.random() < .2]
            components.append(component(
                name, (low, high), (random.randint(1, low), high), *deps,
                structure=name == 'index', optional=random.random() < .4))
        paths.append(manifest(f'{directory}/p{i}', *components))
    return paths


# kho matrix

def programs():
    """programs: the matrix is what kho check says of each pair"""
    m = matrix(V1, V2, V3, code=1)
    assert [c['members'] for c in m['classes']] == [[V1], [V2], [V3]]
    assert m['rows'] == ['..X', 'X.X', 'XX.'], m['rows']
    for i, a in enumerate((V1, V2, V3)):
        for j, b in enumerate((V1, V2, V3)):
            assert check(a, b) == (m['rows'][i][j] == 'X')
    tally = [c for c in m['classes'][1]['components'] if c['name'] == 'tally']
    assert tally == [{'name': 'tally', 'write': versions(2, 2),
                      'read': versions(1, 2)}], tally
    reasons = {(r['from'], r['to']): r for r in m['reasons']}
    assert sorted(reasons) == [(0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    one = reasons[1, 0]
    assert one['component'] == 'tally' and one['verdict'] == 'incompatible'
    assert (one['writer'], one['reader']) == (versions(2, 2), versions(1, 1))
    assert 'reads only v1' in one['reason'], one


def random_pairs():
    """random manifests: the matrix is what kho check says of each pair"""
    seen = collections.Counter()
    profile = text_file('profile.json', json.dumps(
        {'schema': 'kho-profile', 'version': 1, 'name': 'last-quarter',
         'pins': {'app': 1, 'table': 2}}))
    for options in [], ['--allow-degraded'], ['--profile', profile]:
        paths = random_fleet(f'random{len(seen)}', 8)
        m = matrix(*options, *paths)
        assert m['allow_degraded'] == ('--allow-degraded' in options)
        assert m['profile'] == ('last-quarter' if profile in options else None)
        where = {path: i for i, c in enumerate(m['classes'])
                 for path in c['members']}
        for a in paths:
            for b in paths:
                letter = m['rows'][where[a]][where[b]]
                done = kho('check', '--json', *options, a, b,
                           code={'X': 1, 'd': 3}.get(letter, 0))
                verdicts = [c['verdict']
                            for c in json.loads(done.stdout)['components']]
                if letter in '.o':
                    assert ('older' in verdicts) == (letter == 'o'), verdicts
                seen[letter] += 1
    assert seen['X'] and seen['.'], seen


def classes():
    """targets that say the same are one class"""
    m = matrix(V2, V1, f'{DIR}/../{os.path.relpath(V2, DIR + "/..")}', V1)
    assert [len(c['members']) for c in m['classes']] == [2, 2], m
    text = kho('matrix', V2, V1, V2, V2, V2, V2).stdout
    assert '6 targets in 2 classes, 4 pairs' in text, text
    assert re.search(r'class 1: \S+, \S+, \S+, \S+ \+ 1 more\n', text), text
    assert kho('matrix', V1, code=0).stdout.startswith(
        '1 target in 1 class, 1 pair: 1 compatible\n')


def exit_codes():
    """0 compatible, 1 incompatible, 3 degraded"""
    new = app('new', (2, 2), (1, 2))
    old = app('old', (1, 1), (1, 2), CACHE)
    assert matrix(new, new, code=0)['rows'] == ['.']
    assert matrix(old, new, code=1)['rows'] == ['.X', '..']
    m = matrix(old, new, '--allow-degraded', code=3)
    assert m['rows'] == ['.d', '..'], m['rows']
    assert m['reasons'][0]['verdict'] == 'dropped', m['reasons']
    text = kho('matrix', old, new, '--allow-degraded', code=3).stdout
    assert '1 degraded, 3 compatible' in text and '  1 -> 2  cache: ' in text
    # A program that cannot read what it writes.
    assert matrix(app('never', (2, 2), (1, 1)), code=1)['rows'] == ['X']


def table():
    """the table for people has the same, and explains what fails"""
    for n in 3, 12, 40:
        paths = releases(f'table{n}', n)
        rows = matrix(*paths)['rows']
        text = kho('matrix', *paths, code=1).stdout
        lines = [line.split() for line in text.split('\n')]
        table_rows = [line for line in lines
                      if len(line) > 2 and re.fullmatch(r'v\d+', line[1])]
        assert len(table_rows) == n, text
        for i, line in enumerate(table_rows):
            assert line[0] == str(i + 1) and line[1] == f'v{i + 1}', line
            assert ''.join(line[2:-1]) == rows[i], line
            # From each, one update for each release that is missing.
            assert line[-1] == str(n - 1 - i), line
        failing = ''.join(rows).count('X')
        explained = re.findall(r'^  (\d+) -> (\d+)  app: v\d+ writes app v',
                               text, re.M)
        assert len(explained) == min(failing, 20), text
        for a, b in explained:
            assert rows[int(a) - 1][int(b) - 1] == 'X'
        if failing > 20:
            assert f'\n  {failing - 20} more: see --json' in text, text
    assert 'never' in kho('matrix', *reversed(paths), code=1).stdout
    # Of three that are before the last, one has to go by way of the third.
    paths = [app('table/a', (1, 1), (1, 1)), app('table/b', (3, 3), (3, 3)),
             app('table/c', (2, 2), (1, 2)), app('table/d', (3, 3), (2, 3))]
    text = kho('matrix', *paths, code=1).stdout
    assert re.findall(r'^  \d \w .* (\d)$', text, re.M) == list('2110'), text
    text = kho('matrix', app('ö' * 100, (1, 1), (1, 1)), code=0).stdout
    assert f' 1 ...{"ö" * 29}   .' in text, text
    many = releases('many', 501)
    text = kho('matrix', *many, code=1).stdout
    assert '501 classes are too many for a table' in text, text
    m = matrix(*many, code=1)
    assert len(m['reasons']) == 1000 and m['more_reasons'] > 1000


def on_terminal(columns, *args, **env):
    """What the command prints on a terminal."""
    main_fd, fd = pty.openpty()
    termios.tcsetwinsize(fd, (24, columns))
    with subprocess.Popen([KHO, *args], stdout=fd, stderr=fd,
                          env={**ENV, 'TERM': 'xterm', **env}) as run:
        os.close(fd)
        output = b''
        try:
            while chunk := os.read(main_fd, 65536):
                output += chunk
        except OSError:
            pass
        assert run.wait() == 1
    os.close(main_fd)
    return output.decode()


def terminal():
    """a terminal: colours, and a table that fits"""
    paths = releases('terminal', 30)
    text = on_terminal(80, 'matrix', *paths[:3])
    assert '\x1b[32m.\x1b[0m' in text and '\x1b[1;31mX\x1b[0m' in text
    assert '\x1b' not in on_terminal(80, 'matrix', *paths[:3], NO_COLOR='1')
    text = on_terminal(80, 'matrix', *paths, NO_COLOR='1')
    rows = re.findall(r'^ +\d+ v\d+ .*$', text, re.M)
    assert len(rows) == 30 and all(len(row) < 80 for row in rows), rows
    text = on_terminal(40, 'matrix', *paths)
    assert '30 classes are too many for the width of this terminal' in \
        re.sub(r'\s+', ' ', text), text
    assert all(len(line) <= 40 for line in text.splitlines()), text
    assert not re.search(r'^ +\d+ v\d+ .*$', text, re.M)


def unreadable():
    """a target that cannot be read is named, the others go on"""
    broken = text_file('broken.json', '{"schema": ')
    m = matrix(V1, f'{DIR}/nothing', V2, broken, DIR, code=2)
    assert m['unreadable'] == [f'{DIR}/nothing', broken, DIR]
    assert m['rows'] == ['..', 'X.']
    done = kho('matrix', V1, f'{DIR}/nothing', broken, code=2)
    errors = done.stderr.splitlines()
    assert len(errors) == 2, errors
    assert errors[0] == \
        f'kho: matrix: {DIR}/nothing: No such file or directory', errors
    assert errors[1].startswith(f'kho: matrix: {broken}: '), errors
    assert '1 target in 1 class' in done.stdout
    done = kho('matrix', '/dev/null/x', code=2)
    assert done.stdout == '' and len(done.stderr.splitlines()) == 1


def lists():
    """--targets: lines, comments, standard input, several lists"""
    content = f'# old\n{V1}\n\n#{V3}\n{V2}'
    a, b = text_file('a.list', content), text_file('b.list', f'{V3}\n')
    assert [c['members'] for c in matrix('--targets', a)['classes']] == \
        [[V1], [V2]]
    # Those of the command line come first, wherever they stand.
    m = matrix('--targets', b, '--targets', a, V2)
    assert [c['members'] for c in m['classes']] == [[V2, V2], [V3], [V1]]
    m = matrix('--targets', '-', input=content)
    assert len(m['classes']) == 2
    strange = app('# not a comment', (1, 1), (1, 1))
    m = matrix('--targets', text_file('c.list', f'{strange}\n'))
    assert m['classes'][0]['members'] == [strange]


def bad_lists():
    """--targets: NUL, overlong lines, no such file, a directory, nothing"""
    for verb, args in ('matrix', []), ('plan', [V1, V2]):
        for name, content in (('nul', f'{V1}\n{V2}\0\n'.encode()),
                              ('long', f'{V1}\n{"x" * 4096}\n'),
                              ('endless', f'{V1}\n{"x" * 3000000}')):
            path = text_file(name, content)
            err = kho(verb, *args, '--targets', path, code=2).stderr
            assert err.startswith(f'kho: {verb}: {path}: line 2: '), err
            assert len(err) < 1000
        err = kho(verb, *args, '--targets', f'{DIR}/no', code=2).stderr
        assert 'No such file' in err, err
        err = kho(verb, *args, '--targets', DIR, code=2).stderr
        assert 'Is a directory' in err, err
        err = kho(verb, *args, '--targets', code=2).stderr
        assert 'needs a value' in err, err
    # The longest line there can be is only a file that does not exist.
    path = text_file('longest', 'x' * 4095 + f'\n{V1}\n')
    assert '1 target in 1 class' in kho('matrix', '--targets', path,
                                        code=2).stdout
    for content in '', '\n\n', '# nothing\n':
        err = kho('matrix', '--targets', text_file('empty', content),
                  code=2).stderr
        assert 'no TARGET given' in err, err
        kho('plan', V1, V2, '--targets', f'{DIR}/empty', code=0)


def usage():
    """no targets, bad options, a bad profile"""
    assert 'no TARGET given' in kho('matrix', code=2).stderr
    for verb in 'matrix', 'plan':
        assert 'unknown option --frob' in kho(verb, '--frob', code=2).stderr
        assert 'needs a value' in kho(verb, '--profile', code=2).stderr
        err = kho(verb, '--profile', f'{DIR}/no', V1, V2, code=2).stderr
        assert f'{DIR}/no' in err, err
        text = kho(verb, '--help', code=0).stdout
        assert '--allow-degraded' in text and 'Exit: 0' in text, text
    assert 'needs a value' in kho('matrix', V1, '--svg', code=2).stderr
    assert 'needs a value' in kho('plan', V1, V2, '--via', code=2).stderr
    for args in [], [V1], [V1, V2, V3], ['--via', V1, V2], [V1, '--via', V2]:
        err = kho('plan', *args, code=2).stderr
        assert 'FROM and TO' in err, (args, err)


# The picture

def picture(*args, code=None):
    """Draws it: the root element, and what its grid shows for each pair."""
    path = f'{DIR}/picture.svg'
    m = matrix(*args, '--svg', path, code=code)
    with open(path, encoding='utf-8') as file:
        text = file.read()
    for bad in '<script', 'url(', 'xlink', '@import', '&#':
        assert bad not in text, bad
    assert re.findall(r'\w+://[^"]*', text) == ['http://www.w3.org/2000/svg']
    root = ET.fromstring(text)
    grid = next(g for g in root.iter(f'{SVG}g') if g.find(f'{SVG}g') is not None)
    rows = [row_cells(row, len(m['rows'])) for row in grid.findall(f'{SVG}g')]
    for i, row in enumerate(m['rows']):
        for j, letter in enumerate(row):
            back = m['rows'][j][i]
            expected = {'o': 't2', 'd': 't3', 'X': 't4'}.get(
                letter, 't1' if back == 'X' else 't0')
            assert rows[i][j] == expected, (i, j, letter, rows[i][j])
    return root, text, m


def row_cells(row, n):
    """The class of each cell; a small one can stand for its neighbours."""
    cells = []
    size = None
    for cell in row:
        if cell.tag == f'{SVG}use':
            cells.append('t' + cell.get('href')[2:])
        else:
            size = size or int(cell.get('height'))
            kind = re.search(r't\d', cell.get('class'))[0]
            assert int(cell.get('x')) == len(cells) * size
            cells += [kind] * (int(cell.get('width')) // size)
    assert len(cells) == n, (len(cells), n)
    return cells


def pictures():
    """from 1 to 500 classes: the cells are right, and it stays on a screen"""
    for n in 1, 2, 3, 26, 56, 57, 200, 500:
        paths = releases(f'picture{n}', n)
        root, text, m = picture(*paths)
        width, height = int(root.get('width')), int(root.get('height'))
        assert 100 < width < 1500 and 100 < height < 1500, (width, height)
        assert len(text) < (2 << 20), len(text)
        names = [t.text for t in root.iter(f'{SVG}text')]
        assert 'v1' in text and f'v{n}' in text
        labels = [t for t in root.iter(f'{SVG}text')
                  if t.find(f'{SVG}title') is not None]
        assert 0 < len(labels) <= 2 * min(n, 80), len(labels)
        assert not any(name and name.startswith('never') for name in names)
    done = kho('matrix', *releases('picture501', 501), '--svg', f'{DIR}/no.svg',
               code=2)
    assert '501 classes are too many for a picture' in done.stderr
    assert not os.path.exists(f'{DIR}/no.svg')


def picture_says():
    """pointing at a cell says who fails and why; a bar says how far it is"""
    old = app('says/old', (1, 1), (1, 1), CACHE)
    new = app('says/new', (2, 2), (1, 2))
    odd = app('says/odd', (9, 9), (9, 9))
    root, text, _ = picture(old, new, new, odd, '--allow-degraded', code=1)
    titles = [t.text for t in root.iter(f'{SVG}title')]
    assert any(t.startswith('old → new\ndegraded\ncache: ') for t in titles)
    assert any(t.startswith('new → old\nincompatible\napp: ') for t in titles)
    assert any(t.startswith('new → new\ncompatible') for t in titles)
    assert f'{new}\n{new}' in titles, titles
    assert '×2' in text and text.count('never') == 2
    assert '3 targets' not in text and '4 targets in 3 classes' in text


def picture_says_small():
    """small cells: neighbours are one when the same is to be said of them"""
    paths = []
    for i in range(90):
        # From 40 on, alpha does not fit the first ones; from 60 on, beta.
        alpha, beta = (5 if 40 <= i < 60 else 1), (5 if i >= 60 else 1)
        paths.append(manifest(
            f'small/p{i:02}', component('alpha', (alpha, alpha), (alpha, alpha)),
            component('beta', (beta, beta), (beta, beta)),
            component('build', (1, 1), (1, i + 1))))
    root, _, _ = picture(*paths, code=1)
    titles = {t.text for t in root.iter(f'{SVG}title')}
    for text in ('p00 → p40 … p59\nincompatible\nalpha',
                 'p00 → p60 … p89\nincompatible\nbeta',
                 'p45 → p60 … p89\nincompatible\nalpha\nbeta'):
        assert text in titles, (text, [t for t in titles if t[:3] == text[:3]])


def strange_names():
    """names with anything in them: the picture is XML, and cannot be more"""
    names = ['a&b<c>"d\'', 'ünï→', 'tab\tnew\nline', '</title><script>',
             '\x1b[31mred\x7f', '￾￿', 'x' * 200, '%s%n', '-->', ']]>']
    paths = [app(f'strange/{name}', (i + 1, i + 1), (i + 1, i + 1))
             for i, name in enumerate(names)]
    bad = os.fsencode(f'{DIR}/strange/') + b'\xff\xfe\xc3(\xed\xa0\x80'
    os.rename(paths[0], bad)
    root, text, m = picture(*[os.fsencode(p) for p in paths[1:]], bad)
    assert len(m['rows']) == len(names)
    labels = ''.join(root.itertext())
    assert 'ünï→' in labels and '</title><script>' in labels
    assert '\x1b' not in text and '\ufffe' not in text and '\uffff' not in text
    out = kho('matrix', *[os.fsencode(p) for p in paths[1:]], bad).stdout
    assert '\x1b' not in out and 'tab?new?line' in out, out


def unwritable():
    """a picture that cannot be written"""
    for path, why in ((f'{DIR}/no/where.svg', 'No such file'),
                      (DIR, 'Is a directory'),
                      ('/dev/full', 'No space left')):
        done = kho('matrix', V1, '--svg', path, code=2)
        assert f'matrix: {path}: ' in done.stderr and why in done.stderr, done
        assert '1 target' in done.stdout
    with open('/dev/full', 'w', encoding='utf-8') as full:
        for args in ['matrix', V1], ['matrix', V1, '--json'], ['plan', V1, V2]:
            done = subprocess.run([KHO, *args], stdout=full, env=ENV,
                                  stderr=subprocess.PIPE, text=True)
            assert done.returncode == 2 and 'No space left' in done.stderr


# kho plan

def chains():
    """the chain is the shortest, and each update is what kho check says"""
    paths = releases('chain', 6)
    skip = app('chain/skip', (5, 5), (1, 5))
    p = plan(paths[0], paths[5], '--via', *paths[1:5], code=0)
    assert chain(p) == paths
    p = plan(paths[0], paths[5], '--via', *paths[1:5], skip, code=0)
    assert chain(p) == [paths[0], skip, paths[5]], p
    assert p['updates'][0]['components'] == \
        [{'name': 'app', 'verdict': 'ok', 'version': 1}]
    assert chain(plan(paths[2], paths[3], code=0)) == paths[2:4]
    # Options may stand anywhere, what is behind --via is a target.
    done = kho('plan', paths[0], '--json', paths[2], '--via', paths[3],
               '--allow-degraded', paths[1], code=0)
    assert chain(json.loads(done.stdout)) == paths[:3]
    listed = text_file('via.list', '\n'.join(paths))
    p = plan(paths[0], paths[5], '--targets', listed, code=0)
    assert chain(p) == paths
    twin = app('chain/twin', (2, 2), (1, 2))
    text = kho('plan', paths[0], paths[2], '--via', *paths[1:5], twin,
               code=0).stdout
    assert text == (
        f'2 updates: {paths[0]} -> {paths[2]}\n'
        f'  1. {paths[0]} -> {paths[1]} (or another that says the same)\n'
        '       app-v1\n'
        f'  2. {paths[1]} -> {paths[2]}\n'
        '       app-v2\n'), text


def steps(rows, start, goal):
    """The shortest chain's number of updates, by breadth; None: no chain."""
    layer, seen, n = {start}, {start}, 0
    while layer:
        if goal in layer:
            return n
        layer = {j for i in layer for j, c in enumerate(rows[i])
                 if c != 'X' and j not in seen}
        seen |= layer
        n += 1
    return None


def random_plans():
    """random manifests: no shorter chain, each update passes"""
    seen = collections.Counter()
    for i in range(40):
        options = random.choice([[], ['--allow-degraded']])
        paths = random_fleet(f'plans{i}', 7)
        m = matrix(*options, *paths)
        where = {path: i for i, c in enumerate(m['classes'])
                 for path in c['members']}
        a, b = random.sample(paths, 2)
        p = plan(*options, a, b, '--via', *paths)
        n = steps(m['rows'], where[a], where[b])
        seen[n] += 1
        if n is None:
            gap = p['gap']
            assert gap['classes'] == len(m['rows'])
            assert check(gap['from'], gap['to'], *options) == 1, p
            assert steps(m['rows'], where[a], where[gap['from']]) is not None
            assert steps(m['rows'], where[gap['to']], where[b]) is not None
            continue
        assert len(p['updates']) == n, (p, n)
        for x, update in zip(chain(p), p['updates']):
            done = kho('check', '--json', *options, x, update['to'])
            report = json.loads(done.stdout)
            assert report['outcome'] == update['outcome'], (report, update)
            assert [{k: c[k] for k in ('name', 'verdict', 'version')}
                    for c in report['components']] == update['components']
    assert seen[None] and seen[1], seen


def gaps():
    """when there is no chain: how far one gets, and what would bridge it"""
    log = component('log', (1, 1), (1, 1))
    a = app('gap/a', (1, 1), (1, 1), log)
    b = app('gap/b', (2, 2), (1, 2), log)
    c = manifest('gap/c', component('app', (4, 4), (3, 4)))
    d = app('gap/d', (5, 5), (4, 5))
    p = plan(a, d, '--via', b, c, code=1)
    gap = p['gap']
    assert (gap['from'], gap['to'], gap['reached'], gap['classes']) == \
        (b, c, 2, 4), gap
    failing = {f['name']: f for f in gap['components']}
    assert sorted(failing) == ['app', 'log'], gap
    assert (failing['app']['bridge_reads'],
            failing['app']['bridge_writes']) == (2, 3)
    assert (failing['log']['bridge_reads'],
            failing['log']['bridge_writes']) == (1, None)
    text = kho('plan', a, d, '--via', b, c, code=1).stdout
    assert text.startswith(f'no chain of updates: {a} -> {d}\n'
                           f'  2 of 4 classes can be reached; nearest comes '
                           f'{a} -> {b}\n'
                           f'  least is missing from {b} to {c} -> {d}:\n'
                           f'    app: b writes app v2, '), text
    assert text.endswith('  a program that reads app-v2, log-v1 and writes '
                         'app-v3 and does without log would bridge it\n'), text
    # It does.
    bridge = app('gap/bridge', (3, 3), (2, 3),
                 component('log', (0, 0), (1, 1)))
    assert chain(plan(a, d, '--via', b, c, bridge, code=0)) == \
        [a, b, bridge, c, d]
    # The way back.
    p = plan(app('gap/newer', (6, 7), (6, 7)), b, code=1)
    assert [(f['bridge_reads'], f['bridge_writes'])
            for f in p['gap']['components'] if f['name'] == 'app'] == [(6, 2)]
    # What it needs, it cannot write: no other program would help.
    broken = manifest('gap/broken', component('app', (1, 1), (1, 1), 'lost'))
    p = plan(broken, b, code=1)
    assert [f['bridge_reads'] for f in p['gap']['components']] == [None], p
    assert 'bridge' not in kho('plan', broken, b, code=1).stdout


def degraded():
    """a chain with degraded updates: with consent, marked, exit 3"""
    a = app('degraded/a', (1, 1), (1, 1), CACHE)
    b = app('degraded/b', (2, 2), (1, 2))
    c = app('degraded/c', (1, 3), (2, 3), CACHE)
    assert plan(a, c, '--via', b, code=1)['gap']['from'] == a
    p = plan(a, c, '--via', b, '--allow-degraded', code=3)
    assert [u['outcome'] for u in p['updates']] == ['degraded', 'compatible']
    assert p['updates'][0]['components'][0] == \
        {'name': 'cache', 'verdict': 'dropped', 'version': None}
    text = kho('plan', a, c, '--via', b, '--allow-degraded', code=3).stdout
    assert text.startswith('2 updates (1 degraded): '), text
    assert '       cache (dropped), app-v1\n' in text, text
    # One that is as long and loses nothing is better.
    full = app('degraded/full', (2, 2), (1, 2), CACHE)
    p = plan(a, c, '--via', b, full, '--allow-degraded', code=0)
    assert chain(p) == [a, full, c]
    text = kho('plan', c, b, '--allow-degraded').stdout
    assert 'app-v2 (older)' in text, text


def same():
    """FROM and TO that say the same need no update"""
    for args in ([V1, V1], [V1, V1, '--via', V2, V3]):
        p = plan(*args, code=0)
        assert chain(p) == [V1] and p['outcome'] == 'compatible'
        assert kho('plan', *args, code=0).stdout == \
            f'no update needed, they write and read the same: {V1} -> {V1}\n'


def plan_unreadable():
    """FROM or TO that cannot be read, and others"""
    no = f'{DIR}/nothing'
    for args in [no, V1], [V1, no]:
        done = kho('plan', *args, code=2)
        assert done.stdout == '' and no in done.stderr, done
    p = plan(V1, V2, '--via', no, V3, code=2)
    assert chain(p) == [V1, V2] and p['unreadable'] == [no]


# A service in custody

def wait_for(what):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        result = what()
        if result:
            return result
        time.sleep(0.02)
    raise AssertionError(f'waited in vain for {what.__name__}')


class Service:
    """A program under kho run; its last argument is a socket."""

    def __init__(self, name, *program):
        self.name = name
        self.path = f'{DIR}/{name}.sock'
        self.run = subprocess.Popen(
            [KHO, 'run', '--name', name, '--', *program, self.path],
            env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.serving)

    def serving(self):
        assert self.run.poll() is None
        services = json.loads(kho('list', '--json', code=0).stdout)['services']
        return [s for s in services if s['name'] == self.name and
                s['state'] == 'serving']

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.run.terminate()
        self.run.wait(PATIENCE)


def service():
    """a service: its first update is judged by what is in its arena"""
    with Service('s', V1) as s:
        assert matrix('s', V2)['classes'][0]['members'] == ['s']
        assert chain(plan('s', V2, code=0)) == ['s', V2]
        kho('update', 's', V2, code=0)
        wait_for(s.serving)
        assert chain(plan('s', V2, code=0)) == ['s'], 'it is that already'
        p = plan('s', V3, '--via', V1, V2, code=1)
        assert p['gap']['from'] == 's' and p['gap']['reached'] == 1, p
        assert p['gap']['components'][0]['name'] == 'tally', p
        # As the update itself says.
        kho('update', 's', V3, code=1)
    with Service('narrow', KV2, '--port', '0', '--unix'):
        # One that cannot take over connections, of which there are none.
        document = json.loads(kho('manifest', '--json', KV2, code=0).stdout)
        document['components'] = [c for c in document['components']
                                  if c['name'] != 'kvclients']
        narrow = text_file('narrow.json', json.dumps(document))
        assert plan(KV2, narrow, code=1)['gap']['components'][0]['name'] == \
            'kvclients'
        p = plan('narrow', narrow, code=0)
        assert chain(p) == ['narrow', narrow], p
        used = [c['name'] for c in p['updates'][0]['components']]
        assert 'kvtable' in used and 'kvclients' not in used, used
        text = kho('plan', 'narrow', V1, '--via', narrow, code=1).stdout
        assert f'; nearest comes narrow -> {narrow}\n' in text, text


def refusal():
    """a service whose program cannot write what it has: there is another way"""
    with Service('kv', KV2, '--port', '0', '--unix') as s, \
            socket.socket(socket.AF_UNIX) as client:
        assert chain(plan('kv', KV1, code=0)) == ['kv', KV1]
        client.settimeout(PATIENCE)
        client.connect(s.path)
        client.sendall(b'RPUSH the-queue a\r\n')
        assert client.recv(100) == b':1\r\n'
        p = plan('kv', KV1, code=1)
        failing = {c['name']: c['reason'] for c in p['gap']['components']}
        assert 'the-queue' in failing['kvtable'], p
        assert chain(plan(KV2, KV1, code=0)) == [KV2, KV1], 'in general it can'
        # One that reads what there is, and can go back for all we know.
        document = json.loads(kho('manifest', '--json', KV2, code=0).stdout)
        document['components'].append(component('queues', (1, 1), (1, 1),
                                                structure=True))
        other = text_file('other.json', json.dumps(document))
        assert chain(plan('kv', KV1, '--via', other, code=0)) == \
            ['kv', other, KV1]


def silent():
    """a service whose program does not answer is judged from outside"""
    with Service('quiet', V1) as s:
        pid = s.serving()[0]['pid']
        os.kill(pid, signal.SIGSTOP)
        try:
            done = kho('plan', 'quiet', V2, '--json')
        finally:
            os.kill(pid, signal.SIGCONT)
        assert chain(json.loads(done.stdout)) == ['quiet', V2], done
        assert 'what its program would say is not known' in done.stderr, done


# Many

def many():
    """ten thousand targets of 300 classes"""
    n, distinct = 10000, 300
    kinds = []
    for i in range(distinct):
        v, w = 1 + i // 10, 1 + i // 4
        kinds.append([component('app', (max(1, v - 1), v), (max(1, v - 3), v),
                                'table'),
                      component('table', (w, w), (max(1, w - 20), w),
                                structure=True),
                      component('build', (1, i + 1), (1, distinct))])
    texts = [json.dumps({'schema': 'kho-manifest', 'version': 1,
                         'components': kind}) for kind in kinds]
    os.makedirs(f'{DIR}/hosts')
    paths = []
    for i in range(n):
        paths.append(f'{DIR}/hosts/{i}.json')
        with open(paths[-1], 'w', encoding='utf-8') as file:
            file.write(texts[i * 7919 % distinct])
    listed = text_file('hosts.list', '\n'.join(paths))

    m = matrix('--targets', listed, code=1)
    assert len(m['classes']) == distinct
    assert sorted(p for c in m['classes'] for p in c['members']) == \
        sorted(paths)
    kind_of = [kinds[int(c['members'][0].split('/')[-1][:-5]) * 7919 % distinct]
               for c in m['classes']]
    for i, a in enumerate(kind_of):
        for j, b in enumerate(kind_of):
            assert m['rows'][i][j] == letter_of(a, b), (a, b)

    def host(kind):
        return paths[next(i for i in range(n)
                          if i * 7919 % distinct == kind)]
    p = plan(host(0), host(distinct - 1), '--targets', listed, code=0)
    where = [kinds.index(kind) for kind in kind_of]
    rows = m['rows']
    assert len(p['updates']) == \
        steps(rows, where.index(0), where.index(distinct - 1))
    assert len(p['updates'][0]['others']) >= n // distinct - 1
    # No way back.
    p = plan(host(distinct - 1), host(0), '--targets', listed, code=1)
    assert p['gap']['classes'] == distinct
    _, text, _ = picture('--targets', listed)
    assert 'build' not in text and '10000 targets in 300 classes' in text


def letter_of(writer, reader):
    """What the matrix has to say, of components that are all required."""
    older = False
    for w, r in zip(writer, reader):
        v = min(w['write']['max'], r['read']['max'])
        if v < max(w['write']['min'], r['read']['min']):
            return 'X'
        older |= v < w['write']['max']
    return 'o' if older else '.'


tap.main([programs, random_pairs, classes, exit_codes, table, terminal,
          unreadable, lists, bad_lists, usage, pictures, picture_says,
          picture_says_small, strange_names, unwritable, chains, random_plans,
          gaps, degraded, same, plan_unreadable, service, refusal, silent,
          many])
