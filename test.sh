#!/usr/bin/env bash
# Tests every program of this folder on your platform. Needs bash and Go.
#
#     ./test.sh [FLAG ...]     flags for go build and go test, such as -race
#
# First go vet and go build. Then the book's own test: this script starts each
# server, runs the client against it, and shows its log. It runs the two programs
# for inetd under the machine's inetd and under systemd, if they are there. Finally
# go test.
# shellcheck disable=SC2317 # check calls the functions
set -u -m -o pipefail # -m: a background job is a process group of its own
cd "$(dirname "$0")" || exit 1
command -v go >/dev/null || { echo "test.sh: go is not installed, or not in PATH" >&2; exit 1; }
PATH=$PATH:/usr/sbin:/sbin # where an inetd would be

export GOFLAGS="${GOFLAGS:-} -buildvcs=false" # or go build fails in a checkout of another user

passed=0 failed=0 skipped=0 job=
TMPDIR=$(mktemp -d) || exit 1
export TMPDIR

# end_job ends the background job and everything that it has started. Inetd gives
# its programs process groups of their own; their path tells them.
end_job() {
	local pid path
	[ -n "$job" ] || return
	kill -KILL -- "-$job" 2>/dev/null
	wait "$job" 2>/dev/null
	job=
	ps -A -o pid= -o args= 2>/dev/null | while read -r pid path; do
		case $path in "$TMPDIR"/*) kill -KILL "$pid" 2>/dev/null ;; esac
	done
}
trap 'end_job; rm -rf "$TMPDIR"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# check WHAT COMMAND...: runs the command, and counts whether it succeeds.
check() {
	local what=$1
	shift
	echo "===== $what"
	if "$@"; then
		passed=$((passed + 1))
		echo "ok    $what"
	else
		failed=$((failed + 1))
		echo "FAIL  $what"
		return 1
	fi
}

# skip WHAT WHY: says what is not tested, and counts that.
skip() {
	skipped=$((skipped + 1))
	echo "SKIP  $1: $2"
}

# finish prints the counts, and exits.
finish() {
	echo
	if [ "$skipped" -gt 0 ]; then
		echo "$passed passed, $failed failed, $skipped skipped"
	else
		echo "$passed passed, $failed failed"
	fi
	[ "$failed" -eq 0 ]
	exit
}

# whole COMMAND...: runs the command, and ends what it leaves running.
whole() {
	local status
	"$@" &
	job=$!
	wait "$job"
	status=$?
	end_job
	return "$status"
}

# go_test FLAG...: runs the tests. Shows each package when it is done, what is
# skipped and why, and everything that the tests have printed if one fails.
go_test() {
	whole run_go_test "$@"
	local status=$?
	skipped=$((skipped + $(grep -c -e '^ *--- SKIP' "$TMPDIR/go_test")))
	[ "$status" -eq 0 ] || cat "$TMPDIR/go_test"
	return "$status"
}

run_go_test() {
	go test -v -count=1 -timeout=30m "$@" ./... | tee "$TMPDIR/go_test" |
		grep --line-buffered -E -e '^(ok|FAIL)' -e '--- (SKIP|FAIL)' -e SKIPPED
	return "${PIPESTATUS[0]}"
}

# start PATTERN COMMAND...: starts the command, and waits for a line of its log
# that matches. The line is left in $line; the rest can be read from descriptor 3.
start() {
	local pattern=$1
	shift
	mkfifo "$TMPDIR/log" || return
	"$@" >/dev/null 2>"$TMPDIR/log" &
	job=$!
	exec 3<"$TMPDIR/log"
	rm "$TMPDIR/log"
	while read -r -t 30 line <&3; do
		echo "$line"
		[[ $line =~ $pattern ]] && return
	done
	return 1
}

# stop ends what start has started.
stop() {
	end_job
	exec 3<&-
}

# answers PORT: whether the client gets its three answers.
answers() {
	local got
	got=$("$TMPDIR/client" 127.0.0.1 -p "$1") || return
	echo "$got"
	[ "$(sort <<<"$got")" = '"Beautiful is better than?" "Ugly."
"Explicit is better than?" "Implicit."
"Simple is better than?" "Complex."' ]
}

# serves PROGRAM: whether the server, on a free port, answers the client, and
# says so in its log.
serves() {
	local status=1
	start '^Listening at ' "$TMPDIR/$1" -p 0 127.0.0.1 &&
		answers "${line##*:}" &&
		while read -r -t 30 line <&3; do
			echo "$line"
			case $line in *'has closed') status=0 && break ;; esac
		done
	stop
	return "$status"
}

# free_port leaves a port that nobody listens at in $port.
free_port() {
	start '^Listening at ' "$TMPDIR/srv_single" -p 0 127.0.0.1 >/dev/null
	port=${line##*:}
	stop
}

# within SECONDS COMMAND...: tries until the command succeeds.
within() {
	local seconds=$1
	shift
	until "$@"; do
		[ "$((seconds -= 1))" -gt 0 ] || return
		sleep 1
	done
}

# logged N PATTERN: whether N lines of the log of the inetd programs match.
logged() {
	[ "$(grep -c -e "$2" "$TMPDIR/zen.log")" -ge "$1" ]
}

# served N: whether that log says, soon, that N clients came and left.
served() {
	within 30 logged "$1" 'has closed$' && cat "$TMPDIR/zen.log" &&
		[ "$(grep -c '^Accepted connection from 127\.0\.0\.1:' "$TMPDIR/zen.log")" -eq "$1" ]
}

# under_inetd: whether both programs answer under the machine's inetd and this
# folder's inetd.conf, and in_zen2 leaves, and comes again for the next client.
under_inetd() {
	local port1060 port1061 user status
	free_port && port1060=$port && free_port && port1061=$port
	: >"$TMPDIR/zen.log"
	user=$(id -un)
	if [ "$user" = root ]; then
		user=nobody
		chown nobody "$TMPDIR/zen.log" && chmod 711 "$TMPDIR" || return
	fi
	sed -e "s/^1060/$port1060/; s/^1061/$port1061/; s/brandon/$user/; s|/usr/bin/in_zen\([12]\) in_zen|$TMPDIR/in_zen\1 $TMPDIR/in_zen|" \
		inetd.conf >"$TMPDIR/inetd.conf"
	cat "$TMPDIR/inetd.conf"
	start "$port1061 proto=tcp" inetd -d "$TMPDIR/inetd.conf" &&
		within 30 answers "$port1060" && within 30 answers "$port1061" && answers "$port1060" && answers "$port1061" &&
		served 4 && within 30 logged 1 'Waited 8 seconds' && answers "$port1061" && served 5
	status=$?
	stop
	return "$status"
}

# under_systemd PROGRAM FLAG...: whether the program answers under
# systemd-socket-activate.
under_systemd() {
	local program=$1 status
	shift
	free_port
	: >"$TMPDIR/zen.log"
	start '^Listening on ' systemd-socket-activate --inetd "$@" -l "127.0.0.1:$port" "$TMPDIR/$program" &&
		answers "$port" && answers "$port" && served 2
	status=$?
	stop
	return "$status"
}

check 'go vet' whole go vet ./... || finish
check 'go build' whole go build "$@" -ldflags "-X fopnp/chapter07/zen.LogFile=$TMPDIR/zen.log" -o "$TMPDIR/" ./... || finish
for server in srv_single srv_threaded srv_legacy srv_async srv_asyncio1 srv_asyncio2 srv_asyncore; do
	case $(go env GOOS)-$server in
	windows-srv_async*) skip "$server" 'Windows has neither epoll nor kqueue' ;;
	*) check "$server" serves "$server" ;;
	esac
done
if [ "$(go env GOOS)" = windows ]; then
	skip 'in_zen1 and in_zen2' 'Windows has no inetd'
else
	if command -v inetd >/dev/null; then
		check 'in_zen1 and in_zen2 under inetd' under_inetd
	else
		skip 'in_zen1 and in_zen2 under inetd' 'this machine has no inetd (Debian: apt-get install openbsd-inetd)'
	fi
	if command -v systemd-socket-activate >/dev/null; then
		check 'in_zen1 under systemd' under_systemd in_zen1 -a
		check 'in_zen2 under systemd' under_systemd in_zen2
	else
		skip 'in_zen1 and in_zen2 under systemd' 'this machine has no systemd-socket-activate'
	fi
fi
check 'go test' go_test "$@"
finish
