#!/usr/bin/env bash
# Tests every program of this folder on your platform, as the book's test.sh does: go vet
# and go build; each server in turn, with the client and the server's log; go test. It ends
# at the first failure. Needs bash (3.2 is enough) and Go.
# shellcheck disable=SC2317 # check calls the functions
set -u -o pipefail
for flag; do
	case $flag in
	-h | -help | --help) echo 'usage: ./test.sh [-FLAG ...]
Tests every program of this folder. The flags, such as -race or -p=1, are for go build and go test.' && exit ;;
	-*) ;;
	*) echo "test.sh: expected a flag such as -race, got $flag (-h explains)" >&2 && exit 2 ;;
	esac
done
unset CDPATH # or cd may print, and go elsewhere
cd "$(dirname "$0")" || exit 1
exec </dev/null # it may be closed, and then a server's socket would become descriptor 0
export GOFLAGS="${GOFLAGS:-} -buildvcs=false" # or go build fails in a checkout of another user
system=$(go env GOOS) || exit 1
case ${TMPDIR:=/tmp} in *[!A-Za-z0-9/._-]*) TMPDIR=/tmp ;; esac # a path in an inetd.conf has no spaces
tmp=$(mktemp -d "$TMPDIR/zen.XXXXXX") || exit 1
bin=$tmp/bin log=$tmp/log passed=0 skipped=0
export TMPDIR=$tmp ZEN_LOG=$log GOCOVERDIR=$tmp # the last is for -cover

# end ends all jobs. The machine's inetd starts each program in a process group of its
# own, and logs its number.
end() {
	local process
	for process in $(jobs -p) $(sed -n 's/^\([0-9]*\) execv .*/\1/p' "$log"); do
		kill -KILL -- "-$process" || kill -KILL "$process" # on Windows
		wait "$process" || true
	done
} 2>/dev/null

trap 'trap "" INT TERM HUP; end; rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# check WHAT COMMAND...: runs the command, which may say in $why why it fails.
check() {
	why=''
	echo "===== $1"
	: >"$log"
	"${@:2}" || why="FAIL  $1: ${why:-status $?}"
	cat "$log"
	end
	[ -z "$why" ] || total "$why"
	echo "ok    $1"
	passed=$((passed + 1))
}

# skip WHAT: says what is not tested, and why.
skip() { echo "SKIP  $1" && skipped=$((skipped + 1)); }

# total [FAILURE]: says how it went, and exits.
total() {
	echo "${1:-}"
	echo "$passed passed, $# failed, $skipped skipped"
	exit $#
}

# launch COMMAND...: starts the command as a background job, a process group of its own.
launch() {
	set -m
	"$@" &
	set +m
}

run() { launch "$@" && wait $!; }

# start PATTERN COMMAND...: starts a server, and waits until a line of its log matches.
start() {
	: >"$log"
	launch "${@:2}" >/dev/null 2>>"$log"
	server=$!
	await 1 "$1"
}

# await N PATTERN: waits until N lines of the server's log match, for a minute at most.
await() {
	local deadline=$((SECONDS + 60))
	until [ "$(grep -c -e "$2" "$log")" -ge "$1" ]; do
		kill -0 "$server" 2>/dev/null || why='the server has ended'
		[ "$SECONDS" -lt "$deadline" ] || why="a minute without line $1 of '$2' in the log"
		[ -z "$why" ] || return
		sleep 0.1
	done
}

# start_somewhere PROGRAM: starts a server at a free port, which is then in $port.
start_somewhere() {
	start '^Listening at ' "$bin/$1" -p 0 '' && port=$(sed -n 's/^Listening at .*://p' "$log")
}

# ask N PORT: runs the client, the Nth of which the server's log tells.
ask() {
	launch "$bin/client" -p "$2" 127.0.0.1 >"$tmp/answers" 2>&1
	await "$1" 'has closed$'
	cat "$tmp/answers"
	[ -z "$why" ] || return
	[ "$(sort "$tmp/answers")" = '"Beautiful is better than?" "Ugly."
"Explicit is better than?" "Implicit."
"Simple is better than?" "Complex."' ] || { why='the client got other answers than expected' && return 1; }
}

serves() { start_somewhere "$1" && ask 1 "$port"; }

# under_inetd COMMAND...: runs both programs under an inetd. It has logged the name of
# in_zen2 when it listens for in_zen1, and listens for both when that answers.
under_inetd() {
	start_somewhere srv_single && port1=$port && start_somewhere srv_single && end || return
	sed "s|^1060|$port1|; s|^1061|$port|; s|brandon|$user|; s|/usr/bin|$bin|" inetd.conf | tee "$tmp/inetd.conf"
	start in_zen2 "$@" "$tmp/inetd.conf" && ask 1 "$port1" && ask 2 "$port" && ask 3 "$port1" && ask 4 "$port"
}

# under_our_inetd: in_zen2 also leaves, and comes again for the next client.
under_our_inetd() { under_inetd "$bin/inetd" && await 1 '^Waited 8 seconds' && ask 5 "$port"; }

# under_systemd PROGRAM FLAG...: runs the program under systemd-socket-activate.
under_systemd() {
	start_somewhere srv_single && end || return
	start '^Listening on ' systemd-socket-activate -E ZEN_LOG -E GOCOVERDIR "${@:2}" -l "127.0.0.1:$port" "$bin/$1" &&
		ask 1 "$port" && ask 2 "$port"
}

# tests FLAG...: runs go test. Prints a line for each package, all that a failed test has
# printed, and each reason why a test was skipped, once.
tests() {
	go test -v -count=1 -p=4 "$@" ./... | awk '
		/^=== / { test = $3; said[test] = said[test] ""; next }
		/^ *--- (PASS|SKIP|FAIL): / && $3 in said {
			if ($2 == "FAIL:") printf "%s\n%s", $0, said[$3]
			delete said[$3]; test = ""; next
		}
		match($0, /SKIPPED.*/) && !known[substr($0, RSTART)]++ { print "SKIP  " test ": " substr($0, RSTART) }
		!/^(ok  |FAIL|\?   )\t/ { said[test] = said[test] $0 "\n"; next }
		$1 == "FAIL" { for (test in said) printf "%s", said[test] }
		$1 != "?" { print }
		{ split("", said); test = ""; fflush() }' | tee "$tmp/tests"
}

# go_test FLAG...: runs the tests, counts the skips, and names the packages that fail.
go_test() {
	run tests "$@"
	local status=$?
	skipped=$((skipped + $(grep -c '^SKIP' "$tmp/tests")))
	why=$(awk -F '\t' '/^FAIL\t/ { printf "%s%s", comma, $2; comma = ", " }' "$tmp/tests")
	return "$status"
}

check 'go vet' run go vet ./...
check 'go build' run go build "$@" -o "$bin/" ./...
for program in srv_single srv_threaded srv_legacy; do check "$program" serves "$program"; done
case $system in
linux | darwin | *bsd | dragonfly)
	for program in srv_async srv_asyncio1 srv_asyncio2 srv_asyncore; do check "$program" serves "$program"; done
	inetd=$(PATH=/usr/sbin:/sbin:$PATH command -v inetd)
	user=$(id -un 2>/dev/null) || user=nobody inetd=''
	check 'in_zen1 and in_zen2 under zen/tools/inetd' under_our_inetd
	case $("${inetd:-false}" -h 2>&1) in
	*'usage: inetd [-d'*) # neither ours nor busybox's
		check "in_zen1 and in_zen2 under $inetd" under_inetd "$inetd" -d
		;;
	*) skip "in_zen1 and in_zen2 under the machine's inetd: there is none with -d (Debian: openbsd-inetd), or user $UID has no name" ;;
	esac
	if command -v systemd-socket-activate >/dev/null; then
		check 'in_zen1 under systemd-socket-activate' under_systemd in_zen1 --inetd -a
		check 'in_zen2 under systemd-socket-activate' under_systemd in_zen2 --inetd
	else
		skip 'in_zen1 and in_zen2 under systemd-socket-activate: there is none'
	fi
	;;
*) skip "the event loops, in_zen1 and in_zen2: $system has neither epoll nor kqueue, and no inetd" ;;
esac
check 'go test' go_test "$@"
total
