# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""Packages of any release of Debian, from the mirror that this machine uses."""
import os
import re
import shutil
import subprocess
import time


def mirror():
    """Where this machine has Debian's packages from; None: nowhere."""
    if not shutil.which('apt-get'):
        return None
    done = subprocess.run(
        ['apt-get', 'indextargets', '--format', '$(LABEL) $(REPO_URI)',
         'Identifier: Packages'], capture_output=True, text=True)
    found = [line.split()[1] for line in done.stdout.splitlines()
             if line.startswith('Debian ')]
    return found[0] if found else None


class Apt:
    """apt with a configuration of its own: other releases and architectures."""

    def __init__(self, folder, suites, patience):
        """All it writes is below that folder, which is made; @suites is {name:
        architectures}; @patience are seconds for everything together."""
        self.folder = folder
        self.suites = suites
        self.end = time.monotonic() + patience
        self.ready = None
        self.env = {**os.environ, 'APT_CONFIG': f'{folder}/apt.conf'}

    def run(self, *args):
        left = max(1, self.end - time.monotonic())
        try:
            done = subprocess.run(args, cwd=self.folder, env=self.env,
                                  timeout=left, capture_output=True, text=True)
        except subprocess.TimeoutExpired:
            return None
        return None if done.returncode else done.stdout

    def update(self):
        if self.ready is not None:
            return self.ready
        self.ready = False
        uri = mirror()
        if not uri:
            return False
        at = self.folder
        for sub in 'lists/partial', 'cache/archives/partial':
            os.makedirs(f'{at}/{sub}')
        with open(f'{at}/status', 'w'):
            pass
        with open(f'{at}/sources.list', 'w') as f:
            for suite, arches in self.suites.items():
                f.write(f'deb [signed-by=/usr/share/keyrings/'
                        f'debian-archive-keyring.gpg '
                        f'arch={",".join(sorted(arches))}] {uri} {suite} main\n')
        arches = ''.join(f'"{arch}"; ' for arch in
                         sorted(set().union(*self.suites.values())))
        with open(f'{at}/apt.conf', 'w') as f:
            f.write(f'Dir::State "{at}";\n'
                    f'Dir::State::status "{at}/status";\n'
                    f'Dir::Cache "{at}/cache";\n'
                    f'Dir::Etc::sourcelist "{at}/sources.list";\n'
                    'Dir::Etc::sourceparts "-";\n'
                    'Acquire::Languages "none";\nAcquire::Retries "0";\n'
                    'Acquire::http::Timeout "10";\n'
                    'APT::Sandbox::User "root";\n'
                    f'APT::Architectures {{ {arches}}};\n')
        self.ready = self.run('apt-get', 'update') is not None
        return self.ready

    def names(self, pattern, arch):
        """What the group in the pattern matches, in packages' names; sorted."""
        names = self.run('apt-cache', 'pkgnames') or ''
        found = re.finditer(rf'^{pattern}(:{arch})?$', names, re.M)
        return sorted((m[1] for m in found),
                      key=lambda v: [int(n) for n in re.findall(r'\d+', v)])

    def download(self, package):
        if self.run('apt-get', 'download', package) is None:
            return None
        name = package.split(':')[0]
        debs = [f for f in os.listdir(self.folder) if f.startswith(f'{name}_')]
        return f'{self.folder}/{debs[0]}' if debs else None
