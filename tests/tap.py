# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""Runs functions as TAP tests; their docstrings are the names."""
import os
import random
import sys
import time
import traceback

# Of what a test does at random, always the same but for what KHO_TEST_SEED says:
# a number, or "random". Each test begins with it anew.
SEED = os.environ.get('KHO_TEST_SEED') or '1'
SEED = (random.SystemRandom().randrange(2**32) if SEED == 'random'
        else int(SEED, 0))


class Skip(Exception):
    """Raised by a test: why it cannot run here."""


def diag(text):
    for line in str(text).rstrip().splitlines() or ['']:
        print('# ' + line[:2000], flush=True)


def wrong(find, skip):
    """A test of a function that yields what is wrong, or returns None where it
    cannot run: @skip says why."""
    def test():
        found = find()
        if found is None:
            raise Skip(skip)
        found = '\n'.join(found)
        assert not found, found
    test.__doc__ = find.__doc__
    return test


def main(tests, names=(), missing='', after=lambda: None):
    """Run the tests, or those of these names, and exit: 1 if one failed.

    missing: what none of them can do without; all are skipped.
    after: called after each, whatever came of it."""
    if names:
        tests = [test for test in tests if test.__name__ in names]
    failed = 0
    print(f'1..{len(tests)}', flush=True)
    print(f'KHO_TEST_SEED={SEED}', file=sys.stderr, flush=True)
    for n, test in enumerate(tests, 1):
        start = time.monotonic()
        try:
            if missing:
                raise Skip(missing)
            random.seed(SEED)
            try:
                test()
            finally:
                after()
            result = 'ok {} - {}'
        except Skip as why:
            result = 'ok {} - {} # SKIP ' + str(why)
        except Exception:
            diag(traceback.format_exc())
            result = 'not ok {} - {}'
            failed += 1
        diag(f'{time.monotonic() - start:.1f} s')
        print(result.format(n, test.__doc__), flush=True)
    sys.exit(failed > 0)
