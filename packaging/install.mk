# install.mk - `make install`, `make uninstall`, and what must be made for them; see packaging/install.sh.
#
#   make install PREFIX=/usr DESTDIR=/tmp/package
PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR    ?= $(PREFIX)/lib/systemd/system
GENERATED  := build/packaging

.PHONY: install uninstall generated installcheck

generated: all
	@PREFIX='$(PREFIX)' SYSCONFDIR='$(SYSCONFDIR)' packaging/generate.sh $(BIN) $(GENERATED)

install: generated
	DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' UNITDIR='$(UNITDIR)' packaging/install.sh install $(BIN) $(GENERATED)

uninstall:
	DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' UNITDIR='$(UNITDIR)' packaging/install.sh uninstall $(BIN) $(GENERATED)

# What is installed: that it runs from there, its manual pages, completion, unit, and the node as process 1.
installcheck: all
	test/install.sh $(BIN)
	test/pid1.sh $(BIN)
	$(if $(SANITIZE),@echo "  skip  the unit: a leak is looked for by system calls that it forbids",test/systemd.sh $(BIN))
