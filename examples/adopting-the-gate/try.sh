#!/usr/bin/env bash
# What the gate says in a copy of this project: of a commit that changes nothing, and of a slower one.
set -euo pipefail
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r "$(dirname "$0")"/{pyproject.toml,src,bench} "$copy"
cd "$copy"
export GIT_AUTHOR_NAME=example GIT_AUTHOR_EMAIL=example@example.org
export GIT_COMMITTER_NAME=example GIT_COMMITTER_EMAIL=example@example.org
git init -q
git add .
git commit -qm "As it was"

# Without Valgrind, which takes longer than all else here.
compare() { fastact compare --no-install --counter none --workspace "$copy/.git/sides" --json "$copy/.git/trial.json" "$@"; }

compare --base HEAD --minutes 0.25

sed -i 's/sum(1 for _ in run)/sum(1 for _ in sorted(run))/' src/runlength/__init__.py
git commit -qam "Slower"
status=0
compare --base HEAD~1 --head HEAD --minutes 5 -- pytest bench -k encode > slower.md || status=$?
cat slower.md
[ $status -eq 1 ]
grep -q '^| `bench/test_runlength.py::test_encode\[20\]` *| slower' slower.md
fastact report .git/trial.json | cmp - slower.md
