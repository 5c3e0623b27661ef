# SPDX-License-Identifier: MIT
# Thin names for playbooks and test stages; nothing is done here that a playbook or tests/stages.py does not do.
ENV ?= lab
SERVICE ?=
SHELL := /bin/bash
PLAYBOOK = .venv/bin/ansible-playbook -i inventories/$(ENV)
# extra variables as JSON, so that a value may hold spaces and quotes
QUERY_ARG = {"plan_query": "$(call quote,$(QUERY))"}
SERVICE_ARGS = $(if $(SERVICE),-e service=$(SERVICE))
quote = $(subst ','\'',$(subst ",\",$(subst \,\\,$(1))))
given = $(foreach name,$(1),$(if $(findstring command,$(origin $(name))),-e '{"$(shell echo $(name) | tr A-Z a-z)": "$(call quote,$($(name)))"}'))
RESTORE_ARGS = $(SERVICE_ARGS) $(call given,HOST AT REPOSITORY JOB FILE OF ANY_VERSION CONFIRM TO)

.DEFAULT_GOAL := help
.PHONY: help
help: ## this list
	@awk -F':.*## ' '/^[a-z -]+:.*## /{printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- the lab ----------------------------------------------------------------------------------------------------------
.PHONY: setup lab lab-up lab-destroy lab-status
setup: ## install the pinned tools into .venv
	@tools/setup
lab: lab-up ## build reference system 1 in the lab, from an empty node to verified services
	@$(MAKE) --no-print-directory site ENV=lab
lab-up: ## the lab's machines only: network, router, registry, Proxmox node (fake API), probers
	@tools/setup --lab
	@.venv/bin/python tests/lab/lab.py up
lab-destroy: ## remove every trace of the lab
	@if command -v docker >/dev/null; then python3 tests/lab/lab.py destroy --images --secrets; else echo "no Docker here: nothing to destroy"; fi
lab-status: ## what of the lab runs
	@python3 tests/lab/lab.py status

# --- the site: make VERB ENV=homelab SERVICE=jellyfin -----------------------------------------------------------------
.PHONY: new site plan verify up down restart status guests logs vpn-profiles proxmox-access backup prune snapshots restore drill adopt upgrade retire recovery-kit recovery-passphrase open-kit rebuild
new: ## write the inventory of a new environment: NAME=myhome (SYSTEM=homelab, single-vm, windows or raspberrypi, ANSWERS=answers.yml)
	@.venv/bin/ansible-playbook -i localhost, playbooks/new_environment.yml -e new_name=$(NAME) $(if $(SYSTEM),-e new_system=$(SYSTEM)) $(if $(ANSWERS),-e new_answers=$(abspath $(ANSWERS)))
	@.venv/bin/ansible-playbook -i inventories/$(NAME) playbooks/new_secrets.yml
site: ## build or update the whole site (SERVICE=x: that service only)
	$(PLAYBOOK) playbooks/site.yml $(if $(SERVICE),--tags $(SERVICE))
plan: ## show what would run where, who could reach it, what is backed up (HTML=page.html, QUERY=names[].name)
	@$(PLAYBOOK) playbooks/plan.yml $(if $(HTML),-e plan_html=$(abspath $(HTML))) $(if $(QUERY),-e '$(QUERY_ARG)')
verify: ## prove what is open and closed, from outside
	$(PLAYBOOK) playbooks/verify.yml
up down restart: ## start, stop, restart services (or guests: GUEST=vm-intranet)
	$(PLAYBOOK) playbooks/operate.yml -e operation=$@ $(SERVICE_ARGS) $(if $(GUEST),-e guest=$(GUEST))
status: ## state of guests, services, timers
	@$(PLAYBOOK) playbooks/status.yml $(SERVICE_ARGS)
guests: ## the Proxmox nodes' guests and their state
	@$(PLAYBOOK) playbooks/status.yml --limit localhost,proxmox
vpn-profiles: ## bring the VPN devices' profiles to inventories/ENV/.secrets/vpn/
	$(PLAYBOOK) playbooks/vpn_profiles.yml
proxmox-access: ## let the site use the Proxmox nodes' API: roles, user, token (asks for root's password)
	$(PLAYBOOK) playbooks/proxmox_access.yml
backup: ## back up now (timers do it by themselves)
	@$(PLAYBOOK) playbooks/backup.yml $(SERVICE_ARGS)
prune: ## let old snapshots go where the hosts may only add (append_only), from here with credentials of its own
	$(PLAYBOOK) playbooks/prune.yml
snapshots: ## what can be restored (SERVICE=, HOST=, REPOSITORY=)
	@$(PLAYBOOK) playbooks/restore.yml $(RESTORE_ARGS)
restore: ## bring back a service or host (SERVICE=, HOST=, AT=2026-11-20, REPOSITORY=, JOB= FILE=, ANY_VERSION=yes, CONFIRM=yes)
	$(PLAYBOOK) playbooks/restore.yml -e restore=true $(RESTORE_ARGS)
drill: ## prove that the backups come back (a timer does it monthly)
	@$(PLAYBOOK) playbooks/restore_drill.yml $(SERVICE_ARGS)
recovery-kit: ## pack what a rebuild needs: one encrypted file, and a page to print (TO=/media/usb)
	$(PLAYBOOK) playbooks/recovery_kit.yml $(RESTORE_ARGS)
recovery-passphrase: ## show the recovery kit's passphrase, to write it down
	@.venv/bin/python tools/recovery_kit.py passphrase 'inventories/$(ENV)'
open-kit: ## put an inventory back from a recovery kit (KIT=file), into inventories/ENV
	@.venv/bin/python tools/recovery_kit.py open '$(call quote,$(KIT))' 'inventories/$(ENV)'
rebuild: ## everything is gone: build it, each service with its newest backup (KIT=file, REPOSITORY=offsite, CONFIRM=yes)
	$(if $(KIT),@$(MAKE) --no-print-directory open-kit)
	$(PLAYBOOK) playbooks/rebuild.yml $(RESTORE_ARGS)
upgrade: ## newer images, with a way back (SERVICE=x: that service only)
	$(PLAYBOOK) playbooks/upgrade.yml $(SERVICE_ARGS)
retire: ## archive the data of a service taken out of the inventory, remove all else of it (SERVICE=)
	$(PLAYBOOK) playbooks/retire.yml $(SERVICE_ARGS)
adopt: ## take over a set-up made by hand: shows differences; CONFIRM=yes takes over (HOST=, OLD=back|remove)
	@$(PLAYBOOK) playbooks/adopt.yml $(call given,HOST OLD CONFIRM)
logs: ## last log lines (LINES=50)
	@$(PLAYBOOK) playbooks/logs.yml $(SERVICE_ARGS) $(if $(LINES),-e lines=$(LINES))

# --- tests ------------------------------------------------------------------------------------------------------------
.PHONY: test test-long test-lint test-sanity test-unit test-integration test-roles test-lab test-faults test-zfs bench
test: ## all quick stages within their budgets (README)
	@tools/setup --test --lab
	@.venv/bin/python tests/stages.py quick
test-long: ## full fault counts, second ansible-core line, everything slow
	@tools/setup --test --lab
	@.venv/bin/python tests/stages.py long
test-lint test-sanity test-unit test-integration test-roles test-lab test-faults test-zfs: ## one stage (test-roles: ROLE=firewall)
	@tools/setup --test $(if $(filter test-roles test-lab test-faults,$@),--lab)
	@.venv/bin/python tests/stages.py $(patsubst test-%,%,$@) $(if $(ROLE),--role $(ROLE))
bench: ## what runs cost that change nothing, beside the same work done with common modules
	@tools/setup --test --lab
	@.venv/bin/python tests/stages.py bench
