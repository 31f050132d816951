#!/usr/bin/env bash
# copy_collection.sh TARGET: the collection as it is in the checkout, with the roles and playbooks it links to as real
# folders, and nothing that git ignores.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/ci/lib.sh

COLLECTION=collections/ansible_collections/tradingflow/maintenance
mkdir -p "$1"
target=$(cd "$1" && pwd)
(cd "$COLLECTION" && checkout_files . | grep -zvxE '(roles|playbooks)' | tar --null -T - -cf -) | tar -C "$target" -xf -
checkout_files roles playbooks | tar --null -T - -cf - | tar -C "$target" -xf -
