#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""Real kernels as TARGETs: test-kernels.py KHO

Kernels with KHO are those of tests/vm; Debian's are downloaded once, by apt,
from the mirror that this machine uses, into ~/.cache/kho-tools. What is not
there is skipped.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time

sys.path[:0] = [os.path.dirname(__file__) + up for up in ('/..', '/../vm')]
import debian
import guest
import tap

KHO = os.path.abspath(sys.argv[1])
DIR = tempfile.mkdtemp(prefix='kho-kernels-')
CACHE = guest.CACHE + '/kernels'
# Seconds for all downloads together.
PATIENCE = 240
MISSING = 'was built without CONFIG_KEXEC_HANDOVER'
COMPONENTS = {'block': 1, 'kexec-metadata': 1, 'kho': 4, 'luo': 5,
              'memblock': 1, 'memfd': 2, 'radix': 1, 'reserve-mem': 1,
              'vmalloc': 1}

# The flavour for clouds is the smallest: what it is, where, its packages (the
# image, then the configuration when that has a package of its own).
DEBIAN = [
    ('6.1 amd64', 'bookworm', 'amd64',
     [r'linux-image-(6\.1\.\d+-\d+-cloud-amd64)']),
    ('6.12 amd64', 'bookworm-backports', 'amd64',
     [r'linux-image-(6\.12\.\d+\S*-cloud-amd64)']),
    ('7.x amd64', 'trixie-backports', 'amd64',
     [r'linux-binary-(7\.\d+\.\d+\S*-cloud-amd64)', 'linux-base-{}']),
    ('7.x arm64', 'trixie-backports', 'arm64',
     [r'linux-binary-(7\.\d+\.\d+\S*-cloud-arm64)', 'linux-base-{}']),
]


def kho(*args, code=None):
    done = subprocess.run([KHO, *args], capture_output=True, text=True,
                          timeout=60)
    if code is not None:
        assert done.returncode == code, done
    return done


def manifest(path, code=0):
    begin = time.monotonic()
    document = json.loads(kho('manifest', '--json', path, code=code).stdout)
    took = time.monotonic() - begin
    print(f'# {os.path.basename(path)}: {took:.2f} s: '
          f'{json.dumps(document["image"])}')
    return document


def versions(document):
    return {c['name']: c['write']['max'] for c in document['components']}


# Kernels with KHO

def kho_manifests():
    """kernels with KHO: what they understand"""
    found = [p for p in map(guest.kernel, (guest.OLDER, guest.CURRENT)) if p]
    if not found:
        raise tap.Skip('no kernel with KHO here')
    for path in found:
        document = manifest(path)
        assert versions(document) == COMPONENTS, document
        assert document['image']['release'] in path
        assert document['image']['format'] == 'bzImage, gzip, vmlinux'
        assert f'{path}: embedded configuration' in document['sources']


def kho_checks():
    """a kernel with KHO to its neighbours: only what changed is refused"""
    old, new, other = map(guest.kernel,
                          (guest.OLDER, guest.CURRENT, guest.NEXT))
    if not old or not new or not other:
        raise tap.Skip('no kernels with KHO here')
    kho('check', old, new, code=0)
    kho('check', new, old, code=0)
    for here, there, pairs in ((new, other, {'kho': (4, 5), 'memfd': (2, 3)}),
                               (other, new, {'kho': (5, 4), 'memfd': (3, 2)})):
        done = kho('check', '--json', here, there, code=1)
        refused = {c['name']: (c['writer']['max'], c['reader']['max'])
                   for c in json.loads(done.stdout)['components']
                   if c['verdict'] != 'ok'}
        assert refused == pairs, refused


# Debian's kernels

SUITES = {}
for _, suite, arch, _ in DEBIAN:
    SUITES.setdefault(suite, set()).add(arch)
APT = debian.Apt(DIR + '/apt', SUITES, PATIENCE)


def extract(deb, pattern, to):
    """The first file of a package whose name matches."""
    with subprocess.Popen(['dpkg-deb', '--fsys-tarfile', deb],
                          stdout=subprocess.PIPE) as unpacker:
        with tarfile.open(fileobj=unpacker.stdout, mode='r|') as tar:
            for member in tar:
                if re.fullmatch(pattern, member.name) and member.isfile():
                    with open(f'{to}~', 'wb') as f:
                        shutil.copyfileobj(tar.extractfile(member), f)
                    os.rename(f'{to}~', to)
                    break
        unpacker.kill()
    return os.path.exists(to)


def cached(pattern):
    """(image, configuration) in the cache; None: there is none."""
    release = re.search(r'\((.*)\)', pattern)[1]
    for name in sorted(os.listdir(CACHE) if os.path.isdir(CACHE) else ()):
        found = re.fullmatch(f'vmlinuz-({release})', name)
        config = found and f'{CACHE}/config-{found[1]}'
        if found and os.path.exists(config):
            return f'{CACHE}/{name}', config
    return None


def fetch(arch, patterns):
    """The same, downloaded if need be."""
    if cached(patterns[0]):
        return cached(patterns[0])
    versions = APT.update() and APT.names(patterns[0], arch)
    if not versions:
        return None
    version = versions[-1]
    image, config = f'{CACHE}/vmlinuz-{version}', f'{CACHE}/config-{version}'
    os.makedirs(CACHE, exist_ok=True)
    packages = [re.sub(r'\(.*\)', lambda _: version, patterns[0])] + \
        [p.format(version) for p in patterns[1:]]
    for package in packages:
        deb = APT.download(f'{package}:{arch}')
        if not deb:
            return None
        extract(deb, r'\./(boot/vmlinuz-\S+|usr/lib/modules/[^/]+/vmlinuz)',
                image)
        extract(deb, r'\./(boot/config-\S+|usr/lib/modules/[^/]+/config)',
                config)
        os.unlink(deb)
    return cached(patterns[0])


def judge(arch, patterns):
    found = fetch(arch, patterns)
    if not found:
        raise tap.Skip('not in the cache, and not to be had from a '
                       'mirror')
    image, config = found
    with open(config, encoding='utf-8') as f:
        built = 'CONFIG_KEXEC_HANDOVER=y' in f.read()
    document = manifest(image, 0 if built else 1)
    assert image.endswith('/vmlinuz-' + document['image']['release'])
    assert document['image']['missing'] == ('' if built else MISSING)
    assert bool(document['components']) == built
    form = document['image']['format']
    assert form.startswith('bzImage, ' if arch == 'amd64' else 'arm64 Image')


def debian_test(what, arch, patterns):
    def test():
        return judge(arch, patterns)
    test.__doc__ = f'Debian: {what}'
    return test


def matrix():
    """everyone to everyone"""
    paths = [p for p in map(guest.kernel,
                            (guest.OLDER, guest.CURRENT, guest.NEXT)) if p]
    n_kho = len(paths)
    for _, _, _, patterns in DEBIAN:
        paths += (cached(patterns[0]) or ())[:1]
    if n_kho < 3 or len(paths) == n_kho:
        raise tap.Skip('no kernels with KHO here, or none of Debian')
    tap.diag(kho('matrix', *paths).stdout)
    document = json.loads(kho('matrix', '--json', *paths).stdout)
    some = [c['members'][0] for c in document['classes']]
    for here, row in zip(some, document['rows']):
        for there, answer in zip(some, row):
            code = kho('check', here, there).returncode
            assert answer == {0: '.', 1: 'X'}[code], (here, there, answer)


TESTS = [kho_manifests, kho_checks,
         *(debian_test(what, arch, patterns)
           for what, _, arch, patterns in DEBIAN), matrix]


try:
    tap.main(TESTS)
finally:
    shutil.rmtree(DIR, ignore_errors=True)
