#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""kho check, case by case: test-check-cases.py KHO CASES"""
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__) + '/..')
import tap

KHO, CASES = (os.path.abspath(p) for p in sys.argv[1:3])
EXIT = {'compatible': 0, 'incompatible': 1, 'cannot-tell': 2, 'degraded': 3}
MINIMUM = 80
DIR = tempfile.TemporaryDirectory(prefix='kho-check-')
ENV = {**os.environ, 'KHO_RUNTIME_DIR': f'{DIR.name}/run'}


def version_range(word):
    low, _, high = word.partition('-')
    return {'min': int(low), 'max': int(high or low)}


def component(words):
    name, *words = words
    result = {'name': name, 'structure': False, 'optional': False, 'deps': []}
    while words:
        word = words.pop(0)
        if word in ('write', 'read'):
            result[word] = version_range(words.pop(0))
        elif word in ('structure', 'optional'):
            result[word] = True
        elif word == 'needs':
            result['deps'], words = words, []
        else:
            raise ValueError(f'what is {word}?')
    return result


def finding(text):
    text, _, reason = text.partition('|')
    text, _, by = text.partition(' by ')
    name, verdict, version = text.split()
    return {'name': name, 'verdict': verdict,
            'version': None if version == '-' else int(version),
            'needed_by': by.strip(), 'reason': reason.strip()}


def read_cases():
    cases = []
    with open(CASES, encoding='utf-8') as file:
        for number, line in enumerate(file, 1):
            key, _, text = line.strip().partition(' ')
            text = text.strip()
            if not key or key.startswith('#'):
                continue
            if key == 'case':
                cases.append({'name': text, 'line': number, 'from': [],
                              'to': [], 'pin': {}, 'profile': None,
                              'allow': False, 'find': [], 'says': []})
            elif key in ('from', 'to'):
                if text != 'none':
                    cases[-1][key].append(component(text.split()))
            elif key == 'pin':
                name, version = text.split()
                cases[-1]['pin'][name] = int(version)
            elif key == 'profile':
                cases[-1]['profile'] = text
            elif key == 'allow-degraded':
                cases[-1]['allow'] = True
            elif key == 'result':
                assert 'outcome' not in cases[-1], f'line {number}'
                cases[-1]['outcome'], code = text.split()
                cases[-1]['code'] = int(code)
            elif key == 'find':
                cases[-1]['find'].append(finding(text))
            elif key == 'says':
                cases[-1]['says'].append(text)
            else:
                raise ValueError(f'{CASES}, line {number}: what is {key}?')
    return cases


def write(name, text):
    path = f'{DIR.name}/{name}'
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text)
    return path


def profile(case):
    if case['profile'] == 'none':
        return f'{DIR.name}/no/profile'
    return write('profile', case['profile'] or json.dumps(
        {'schema': 'kho-profile', 'version': 1, 'name': 'fleet',
         'pins': case['pin']}))


def arguments(case):
    args = [write(name, json.dumps({'schema': 'kho-manifest', 'version': 1,
                                    'components': case[key]}))
            for key, name in (('from', 'old'), ('to', 'new'))]
    if case['pin'] or case['profile']:
        args += ['--profile', profile(case)]
    if case['allow']:
        args += ['--allow-degraded']
    return args


def check(*args):
    return subprocess.run([KHO, 'check', *args], capture_output=True,
                          timeout=60, env=ENV, text=True, check=False)


def compare_finding(case, wanted, found):
    name = wanted['name']
    for key in ('name', 'verdict', 'version'):
        assert found[key] == wanted[key], f'{name}: {key}: {found}'
    assert found['needed_by'] == wanted['needed_by'], found
    assert wanted['reason'] in found['reason'], found
    assert bool(found['reason']) == (found['verdict'] != 'ok'), found
    assert '\n' not in found['reason'], found
    assert found['has'] is None, found
    assert found['pin'] == case['pin'].get(name), found
    # What comes with a bundle is not in the case.
    for key, side, does in (('writer', 'from', 'write'),
                            ('reader', 'to', 'read')):
        for one in case[side]:
            if one['name'] == name:
                assert found[key] == one.get(does), found


def compare_json(case, done):
    report = json.loads(done.stdout)
    assert report['schema'] == 'kho-report' and report['version'] == 1, report
    assert report['outcome'] == case['outcome'], report
    assert report['compatible'] == (case['outcome'] == 'compatible'), report
    names = [one['name'] for one in report['components']]
    assert names == [one['name'] for one in case['find']], names
    for wanted, found in zip(case['find'], report['components']):
        compare_finding(case, wanted, found)
    assert not done.stderr, done


def compare_text(case, done):
    """The same for people: the outcome, why not, and the table."""
    lines = done.stdout.splitlines()
    assert lines[0] == f'{case["outcome"]}: {DIR.name}/old -> {DIR.name}/new'
    rows = [line.split() for line in lines if line.startswith('  ')]
    for one in case['find']:
        version = f'v{one["version"]}' if one['version'] else '-'
        assert any(row[:3] == [one['name'], one['verdict'], version]
                   for row in rows), one
        if one['verdict'] != 'ok':
            assert any(line.startswith(f'  {one["name"]}: ') and
                       one['reason'] in line for line in lines), one
    assert not done.stderr, done


def run(case):
    args = arguments(case)
    assert EXIT[case['outcome']] == case['code'], 'the case contradicts itself'
    for done, compare in ((check('--json', *args), compare_json),
                          (check(*args), compare_text)):
        assert done.returncode == case['code'], done
        if case['code'] != 2:
            compare(case, done)
            continue
        assert not done.stdout and case['says'], done
        assert done.stderr.startswith('kho: check: '), done
        assert done.stderr.count('\n') == 1, done
        for text in case['says']:
            assert text in done.stderr, done


def test(case):
    def one():
        try:
            run(case)
        except Exception:
            tap.diag(f'{CASES}, line {case["line"]}:')
            raise
    one.__doc__ = case['name']
    return one


def main():
    cases = read_cases()
    assert len(cases) >= MINIMUM, len(cases)
    assert len({case['name'] for case in cases}) == len(cases), 'a name twice'
    tap.main([test(case) for case in cases])


main()
