# What people do with a checkout. `make` alone lists it.
#
# PREFIX, SYSCONFDIR and DESTDIR are as usual; ARGS goes to the demo and to the tests.

PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
BINDIR     ?= $(PREFIX)/bin
DATADIR    ?= $(PREFIX)/share
DOCDIR     ?= $(DATADIR)/doc/ecar-sms

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
PROGRAM    := $(TARGET_DIR)/release/ecar-sms
# Manual and completions, as the program prints them.
PRINTED    := $(TARGET_DIR)/release/printed
DOCUMENTS  := $(wildcard README.md CHANGELOG.md LICENSE-* docs/*.md)
INSTALL    ?= install
# Commands that change the running system: not for a package (DESTDIR), and not for an ordinary user.
LIVE       := $(if $(DESTDIR),,$(filter 0,$(shell id -u)))

.DEFAULT_GOAL := help
.PHONY: help demo test torture smpp contract bench fuzz check build install uninstall clean need

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

# Built without optimisation: up in a fraction of the time, and fast enough for one garage.
demo: ARGS ?= --once
demo: need ## show a garage day on throwaway servers; ends with a summary (ARGS= keeps it open)
	ECAR_SMS_PG_BIN="$$(scripts/need-postgres)" cargo run --locked -- demo $(ARGS)

test: need ## format, lints and all tests, as CI runs them
	scripts/need-rust fmt clippy
	@command -v curl >/dev/null || scripts/apt-install curl
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	ECAR_SMS_PG_BIN="$$(scripts/need-postgres)" cargo test --locked $(ARGS)

# In the test profile: the points at which the program dies on demand are not in a release. What cannot be installed is
# skipped, and said so.
torture: need ## break everything for a quarter of an hour; nothing may be lost or sent twice (ARGS=kill_9 chooses)
	@ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || scripts/apt-install faketime || true
	@scripts/need-pgbouncer >/dev/null || true
	@ulimit -n 4096 2>/dev/null || true; ECAR_SMS_TORTURE=full ECAR_SMS_PG_BIN="$$(scripts/need-postgres)" cargo test --locked --quiet --test torture -- $(ARGS)

# Not part of `make test`: it needs node and npm, and asks npm's registry for one package.
smpp: need ## hold the SMPP provider against a message centre that is none of ours (needs node and npm)
	@command -v npm >/dev/null || { echo "npm is missing; see docs/providers/smpp.md" >&2; exit 1; }
	npm install --no-audit --no-fund --prefix $(TARGET_DIR)/smpp-centre smpp@0.5.1
	ECAR_SMS_PG_BIN="$$(scripts/need-postgres)" cargo test --locked --test smpp -- --ignored --test-threads=2 $(ARGS)

# Not part of `make test`: it needs node and npm, asks npm's registry for the packages that make a server of a document, and for Twilio's document;
# the others' are put into CONTRACTS by hand (docs/providers/CONTRACTS.md).
contract: ## hold the providers' requests against the vendors' OpenAPI documents (CONTRACTS= their directory; needs node and npm)
	@command -v npm >/dev/null || { echo "npm is missing; see docs/providers/CONTRACTS.md" >&2; exit 1; }
	npm install --no-audit --no-fund --prefix target/contract express@4.22.3 express-openapi-validator@5.6.2 \
	  openapi-sampler@1.7.10 @apidevtools/json-schema-ref-parser@15.5.2 js-yaml@5.5.0
	rm -rf target/contract/documents && mkdir -p target/contract/documents
	npm pack --silent --pack-destination target/contract @twilio/cli-core@8.3.2
	tar -xzOf target/contract/twilio-cli-core-8.3.2.tgz package/src/services/twilio-api/twilio_api_v2010.json >target/contract/documents/twilio.json
	$(if $(CONTRACTS),cp $(CONTRACTS)/* target/contract/documents)
	@for it in vonage-sms vonage-account infobip-sms infobip-account capcom6; do \
	  ls target/contract/documents/$$it.* >/dev/null 2>&1 || echo "not held against anything, for want of its document: $$it"; done
	cargo test --locked --lib -- --ignored published $(ARGS)

# Twenty minutes; ECAR_SMS_BENCH=quick makes it two, to see that it works.
bench: need ## measure everything that docs/PERFORMANCE.md speaks of (ARGS=idle chooses, ARGS=--list lists)
	ECAR_SMS_PG_BIN="$$(scripts/need-postgres)" cargo bench --locked $(if $(ARGS),--bench delivery) -- $(ARGS)

fuzz: FUZZ_SECONDS ?= 600
fuzz: ## search for inputs that break a parser (FUZZ_SECONDS each target)
	@scripts/need-rust
	@scripts/need-cc
	scripts/fuzz $(FUZZ_SECONDS)

check: ## lints, documentation, licences, systemd files; skips what is not installed
	scripts/need-rust fmt clippy
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --locked --no-deps --document-private-items
	@if cargo deny --version >/dev/null 2>&1; then cargo deny --locked check; else echo "skipped: cargo deny"; fi
	@if command -v systemd-analyze >/dev/null; then scripts/check-unit; else echo "skipped: systemd-analyze"; fi
	@if command -v shellcheck >/dev/null; then shellcheck $(filter-out %.js,$(wildcard scripts/*)) .ci/run; else echo "skipped: shellcheck"; fi

build: ## build the program, optimised
	@scripts/need-rust
	@scripts/need-cc
	cargo build --locked --release
	mkdir -p $(PRINTED)
	$(PROGRAM) man >$(PRINTED)/ecar-sms.1
	for shell in bash zsh fish; do $(PROGRAM) completions $$shell >$(PRINTED)/$$shell || exit 1; done

# Under sudo there is often no cargo: then what `make build` left is installed.
install: $(if $(shell command -v cargo),build) ## install program, unit, sample configuration, manual, completions
	@test -x $(PROGRAM) || { echo "$(PROGRAM) is missing; run make build first" >&2; exit 1; }
	$(INSTALL) -D -m 0755 $(PROGRAM) $(DESTDIR)$(BINDIR)/ecar-sms
	$(INSTALL) -D -m 0644 systemd/ecar-sms.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/ecar-sms.conf
	$(INSTALL) -D -m 0644 systemd/ecar-sms.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/ecar-sms.conf
	$(INSTALL) -D -m 0644 systemd/ecar-sms.service $(DESTDIR)$(PREFIX)/lib/systemd/system/ecar-sms.service
	sed -i -e 's|/usr/local/bin|$(BINDIR)|' -e 's|/usr/local/share/doc/ecar-sms|$(DOCDIR)|' \
		$(DESTDIR)$(PREFIX)/lib/systemd/system/ecar-sms.service
	$(INSTALL) -d -m 0755 $(DESTDIR)$(SYSCONFDIR)/ecar-sms
	$(INSTALL) -m 0644 systemd/config.toml $(DESTDIR)$(SYSCONFDIR)/ecar-sms/config.toml.example
	test -e $(DESTDIR)$(SYSCONFDIR)/ecar-sms/config.toml || \
		$(INSTALL) -m 0640 systemd/config.toml $(DESTDIR)$(SYSCONFDIR)/ecar-sms/config.toml
	$(INSTALL) -D -m 0644 -t $(DESTDIR)$(DOCDIR) $(DOCUMENTS)
	$(INSTALL) -D -m 0644 -t $(DESTDIR)$(DOCDIR)/providers $(wildcard docs/providers/*.md)
	$(INSTALL) -D -m 0644 $(PRINTED)/ecar-sms.1 $(DESTDIR)$(DATADIR)/man/man1/ecar-sms.1
	$(INSTALL) -D -m 0644 $(PRINTED)/bash $(DESTDIR)$(DATADIR)/bash-completion/completions/ecar-sms
	$(INSTALL) -D -m 0644 $(PRINTED)/zsh $(DESTDIR)$(DATADIR)/zsh/site-functions/_ecar-sms
	$(INSTALL) -D -m 0644 $(PRINTED)/fish $(DESTDIR)$(DATADIR)/fish/vendor_completions.d/ecar-sms.fish
ifneq ($(LIVE),)
	if command -v systemd-sysusers >/dev/null; then \
		systemd-sysusers $(PREFIX)/lib/sysusers.d/ecar-sms.conf && \
		systemd-tmpfiles --create $(PREFIX)/lib/tmpfiles.d/ecar-sms.conf; \
	else echo "There is no systemd here: create the user and the group ecar-sms yourself."; fi
	test ! -d /run/systemd/system || systemctl daemon-reload
	@echo "Installed. Next: write $(SYSCONFDIR)/ecar-sms/config.toml, run 'ecar-sms install' and 'ecar-sms doctor',"
	@echo "then 'systemctl enable --now ecar-sms'."
endif

# The program knows how to leave the database, so that comes first.
uninstall: ## remove what install put there; configuration and database stay
	@echo "Triggers, tables and messages in the database stay; 'ecar-sms uninstall', run before this, takes them out."
ifneq ($(LIVE),)
	-test ! -d /run/systemd/system || systemctl disable --now ecar-sms.service
endif
	rm -f $(DESTDIR)$(BINDIR)/ecar-sms $(DESTDIR)$(PREFIX)/lib/systemd/system/ecar-sms.service \
		$(DESTDIR)$(PREFIX)/lib/sysusers.d/ecar-sms.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/ecar-sms.conf \
		$(DESTDIR)$(SYSCONFDIR)/ecar-sms/config.toml.example $(DESTDIR)$(DATADIR)/man/man1/ecar-sms.1 \
		$(DESTDIR)$(DATADIR)/bash-completion/completions/ecar-sms \
		$(DESTDIR)$(DATADIR)/zsh/site-functions/_ecar-sms $(DESTDIR)$(DATADIR)/fish/vendor_completions.d/ecar-sms.fish
	rm -rf $(DESTDIR)$(DOCDIR)
ifneq ($(LIVE),)
	test ! -d /run/systemd/system || systemctl daemon-reload
endif

clean: ## remove what was built
	cargo clean

need:
	@scripts/need-rust
	@scripts/need-cc
	@scripts/need-postgres >/dev/null
