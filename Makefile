# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
# A thin front over Meson: scripts/build knows the builds, scripts/setup the
# packages, scripts/check the tests.

PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 30
RUNS ?= 20
export DESTDIR FUZZ_SECONDS

.PHONY: all demo check check-quick check-random check-gcc check-clang check-asan check-tsan check-vm check-debian13 bench fuzz \
	install format clean help

all:
	@scripts/setup --check build
	@scripts/build gcc

demo:
	@scripts/setup build demo
	@scripts/build gcc
	@tests/demo/demo build/gcc

check:
	@scripts/setup build demo test
	@scripts/check gcc clang asan tsan

check-gcc check-clang check-asan check-tsan:
	@scripts/setup build demo test
	@scripts/check $(@:check-%=%)

# While one is editing: the quick tests of one build.
check-quick:
	@scripts/setup --check build demo test
	@scripts/check quick

check-random:
	@scripts/setup --check build
	@scripts/build gcc
	@KHO_TEST_SEED=random meson test -C build/gcc --no-rebuild --suite random \
		--repeat $(RUNS) --print-errorlogs

check-vm:
	@scripts/setup build demo test
	@scripts/build gcc
	@scripts/vm-kernel
	@meson test -C build/gcc --no-rebuild --suite vm --print-errorlogs

check-debian13:
	@scripts/debian13

bench:
	@scripts/setup --check build demo
	@scripts/build release
	@meson test -C build/release --no-rebuild --benchmark --verbose

fuzz:
	@scripts/setup --check build test
	@scripts/build fuzz
	@scripts/fuzz

install:
	@scripts/setup --check build
	@scripts/build release --prefix=$(PREFIX)
	@meson install -C build/release --no-rebuild
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ]; then ldconfig; fi

format:
	@scripts/setup --check test
	@scripts/sources | grep '\.[ch]$$' | xargs clang-format -i

clean:
	rm -rf build

help:
	@echo 'make           compile into build/gcc'
	@echo 'make demo      see a server being updated under load (installs what is missing)'
	@echo 'make check     all tests: gcc, clang, ASan+UBSan, TSan (installs what is missing)'
	@echo 'make check-quick   the quick tests of one build, while editing: a minute'
	@echo 'make check-random  tests with other random numbers, RUNS ($(RUNS)) times each'
	@echo 'make check-X   the tests of one build: gcc, clang, asan, tsan'
	@echo 'make check-vm  the tests with real kernels in QEMU (compiles kernels if there are none)'
	@echo 'make check-debian13  make check in a chroot with Debian 13 (needs root)'
	@echo 'make bench     a release build and its benchmarks'
	@echo 'make fuzz      each fuzz target for FUZZ_SECONDS ($(FUZZ_SECONDS))'
	@echo 'make install   a release build into PREFIX ($(PREFIX)), below DESTDIR'
	@echo 'make format    clang-format all C sources'
	@echo 'make clean     remove build/'
