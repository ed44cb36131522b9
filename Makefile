# SPDX-License-Identifier: Apache-2.0
# What people type: `make demo` to see it, `make test` to trust it, `make install` to use it. Both of the first work on a
# fresh Debian machine that has Rust, git and make, as root: they install what else they need. Cargo does the building;
# there are no rules of building here.

CARGO ?= cargo
PREFIX ?= /usr
DESTDIR ?=
# The kind of node for `make node`: see tests/node/README.md.
KIND ?= bookworm

target := $(or $(CARGO_TARGET_DIR),target)
program := vhost-accord
scripts := .ci/run benches/hook/hook.sh tests/fuzz/run tests/ansible/fetch tests/augeas/fetch tests/libvirt/fetch tests/monitoring/fetch tests/selinux/fetch tests/run tests/setup tests/prepare tests/packages packaging/build packaging/install \
	tests/openstack/openstack tests/node/node tests/node/lib/launch tests/node/lib/customize \
	tests/node/lib/compare-upstream $(wildcard tests/node/lib/*.sh)
# Run by `sh` inside a node.
node_scripts := tests/osvif/layer tests/openstack/layer tests/openstack/configure tests/openstack/story tests/node/lib/setup tests/node/lib/foreign tests/node/lib/testpmd-collect $(wildcard tests/node/kinds/*/layer) $(wildcard packaging/debian/vhost-accord.p*) packaging/greenboot/40_vhost_accord.sh packaging/monitoring/check_vhost_accord \
	tests/node/machine/disk/customize tests/node/machine/disk/payload tests/node/machine/apparmor

.PHONY: help demo picture test test-all torture node openstack openstack-story build release fmt lint deb rpm install clean-cache

help:
	@echo 'make demo          the whole story, in a throw-away node (root; seconds)'
	@echo 'make picture       docs/demo.svg, from a run of the demo'
	@echo 'make test          the tests of a change, on one kind of real node (root; a quarter of an hour on two cores)'
	@echo 'make test-all      these, and then the long ones and the other kinds of node (root; within an hour)'
	@echo 'make torture       the long form of what tests try for minutes: fuzz, kills, faults, races, crowds (root; hours)'
	@echo 'make node          a shell on a real node with OVS-DPDK, libvirt and two VMs (root); KIND=bookworm'
	@echo 'make openstack     a shell on an OpenStack of two nodes, with OVS-DPDK (root; about ten minutes, the first time more)'
	@echo 'make openstack-story what nova does there before and after apply, asserted (root)'
	@echo 'make build         target/debug/vhost-accord'
	@echo 'make fmt           formats every file, also those that cargo fmt does not find'
	@echo 'make lint          format, clippy, documentation, shell scripts'
	@echo 'make deb, make rpm a package in dist/ (minutes)'
	@echo 'make install       release build, installed below $$(DESTDIR)$$(PREFIX)'
	@echo 'make clean-cache   the images of nodes that tests keep'

demo: build
	@$(target)/debug/$(program) demo

picture: build
	tests/demo/picture $(target)/debug/$(program) >docs/demo.svg.new
	mv docs/demo.svg.new docs/demo.svg

test:
	@tests/setup test
	@tests/run

# The second part says what the first one left out; its packages are those that users get.
test-all: test
	@tests/run rest

# For make torture: seconds for each fuzz target (two at a time), swaps of paths in a run, crowds.
SECONDS_EACH ?= 360
SWAPS ?= 100000000
ROUNDS ?= 25
torture:
	@tests/setup test
	@tests/fuzz/run $(SECONDS_EACH)
	VHOST_ACCORD_TORTURE=1 $(CARGO) test --locked --test root_crash -- --ignored --nocapture --skip _some_calls_
	@tests/node/node prepare && tests/node/node build bookworm && tests/node/node build rhel-2.17 && tests/packages dev
	VHOST_ACCORD_TORTURE=1 $(CARGO) test --locked --test node -- --ignored --nocapture --test-threads 2 crash:: hostile:: every_breakage_is_in_the_report
	VHOST_ACCORD_SWAPS=$(SWAPS) $(CARGO) test --locked --test node -- --ignored --nocapture --test-threads 1 races::
	VHOST_ACCORD_ROUNDS=$(ROUNDS) $(CARGO) test --locked --test node -- --ignored --nocapture load::

node: build
	@tests/node/node demo $(KIND) $(target)/debug/$(program)

openstack: build
	@tests/openstack/openstack shell $(target)/debug

openstack-story: build
	@tests/openstack/openstack story $(target)/debug

build:
	@tests/setup build
	$(CARGO) build --locked

release:
	@tests/setup build
	$(CARGO) build --locked --release

# rustfmt follows no `mod` that a macro writes (`families!`, `drivers!`, `kinds!`): it is given every file.
rustfmt := find src tests benches examples -name '*.rs' -not -path '*/target/*' | xargs rustfmt --edition 2024
fmt:
	$(rustfmt)

# Cheap ones first.
lint:
	@tests/setup lint
	$(rustfmt) --check
	shellcheck -x $(scripts)
	shellcheck --shell=sh tests/once.sh
	shellcheck --shell=sh $(node_scripts)
	cd packaging/ansible && yamllint --strict .
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --all-targets --no-default-features -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check bans licenses sources; fi

# Checked by lintian or rpmlint; made from a copy, so that the checkout stays clean.
deb:
	@tests/setup deb
	packaging/build deb
	lintian --fail-on error dist/*.deb

rpm:
	@tests/setup rpm
	packaging/build rpm
	rpmlint -c packaging/rpm/rpmlint.toml dist/*.rpm

# All that the packages bring; what they do after an installation is a 'systemctl enable vhost-accord' and an apply.
install:
	@tests/setup build
	packaging/install '$(DESTDIR)/' $(PREFIX)

clean-cache:
	@tests/node/node list | grep . && { echo 'these nodes are up: tests/node/node down NAME'; exit 1; } || :
	rm -rf --one-file-system $(or $(VHOST_ACCORD_CACHE),/var/cache/vhost-accord)
