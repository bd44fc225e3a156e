#!/usr/bin/env bash
# Proves every program of this folder on your platform. Needs bash and Go.
#
#     ./test.sh [FLAG ...]     flags for go build and go test, -race for one
#
# First go vet and the Go tests. Then the book's own test: each server is
# started, its client is run against it, and its log is shown.
set -u -m # -m: every background job is a process group, and can be ended whole
cd "$(dirname "$0")" || exit 1
command -v go >/dev/null || { echo "test.sh: go is not installed, or not in PATH" >&2; exit 1; }

passed=0 failed=0 job=
TMPDIR=$(mktemp -d) || exit 1
export TMPDIR

end_job() {
	[ -n "$job" ] || return
	kill -KILL -- "-$job" 2>/dev/null
	wait "$job" 2>/dev/null
	job=
}
trap 'end_job; rm -rf "$TMPDIR"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# check WHAT COMMAND...: runs the command and counts how it went.
check() {
	local what=$1
	shift
	if "$@"; then
		passed=$((passed + 1))
		echo "ok    $what"
	else
		failed=$((failed + 1))
		echo "FAIL  $what"
	fi
}

# whole COMMAND...: runs the command, and ends whatever it leaves running.
whole() {
	local status
	"$@" &
	job=$!
	wait "$job"
	status=$?
	end_job
	return "$status"
}

# answers CLIENT ARGUMENT...: whether the client gets its three answers.
answers() {
	local got
	got=$("$@") || return
	echo "$got"
	[ "$(sort <<<"$got")" = '"Beautiful is better than?" "Ugly."
"Explicit is better than?" "Implicit."
"Simple is better than?" "Complex."' ]
}

# serves PROGRAM: whether the server, on a free port, answers the client, and
# says so in its log.
serves() {
	local line status=1
	mkfifo "$TMPDIR/log" || return
	"$TMPDIR/$1" -p 0 127.0.0.1 2>"$TMPDIR/log" &
	job=$!
	exec 3<"$TMPDIR/log"
	rm "$TMPDIR/log"
	read -r -t 30 line <&3
	echo "$line"
	answers "$TMPDIR/client" 127.0.0.1 -p "${line##*:}" &&
		while read -r -t 30 line <&3 && echo "$line"; do
			case $line in *'has closed') status=0 && break ;; esac
		done
	end_job
	exec 3<&-
	return "$status"
}

check 'go vet' whole go vet ./...
check 'go test' whole go test -count=1 -timeout=30m "$@" ./...
check 'go build' whole go build "$@" -o "$TMPDIR/" ./...
for server in srv_single srv_threaded srv_legacy srv_async srv_asyncio1 srv_asyncio2 srv_asyncore; do
	echo
	check "$server" serves "$server"
done

echo
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
