#!/usr/bin/env bash
# Tests every program of this folder on your platform, as the book's test.sh does: go vet
# and go build; each server in turn, with the client and the server's log; go test. It ends
# at the first failure. Needs bash (3.2 is enough) and Go.
# shellcheck disable=SC2046,SC2317 # several numbers; check calls the functions
set -u -o pipefail
case " $*" in *' -h'* | *' --h'* | *' '[!-]*)
	echo 'usage: ./test.sh [-FLAG ...]; the flags, such as -race and -v, are for go build and go test' >&2 && exit 2 ;; esac
CDPATH='' cd "$(dirname "$0")" || exit 1 # with a CDPATH cd may go elsewhere
exec </dev/null # it may be closed, and then a server's socket would become descriptor 0
export GOFLAGS="${GOFLAGS:-} -buildvcs=false" # or go build fails in a checkout of another user
system=$(go env GOOS) || exit 1
case ${TMPDIR:=/tmp} in *[!A-Za-z0-9/._-]*) TMPDIR=/tmp ;; esac # a path in an inetd.conf has no spaces
tmp=$(mktemp -d "$TMPDIR/zen.XXXXXX") || exit 1
bin=$tmp/bin log=$tmp/log job='' passed=0 skipped=0
export TMPDIR=$tmp ZEN_LOG=$log GOCOVERDIR=$tmp # the last is for -cover
trap 'trap "" INT TERM HUP; end; rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP

# skip WHAT: says what is not tested, and why.
skip() { echo "SKIPPED: $1" && skipped=$((skipped + 1)); }

# check WHAT COMMAND...: runs the command in a subshell, which is a process group of its
# own, and shows the log. All that the command has started ends with it.
check() {
	echo "===== $1"
	: >"$log"
	set -m
	(set +m && trap stop EXIT && "${@:2}") &
	set +m
	job=$!
	wait "$job" && verdict=ok || verdict=FAIL
	end
	cat "$log"
	echo "$verdict  $1"
	[ "$verdict" = ok ] && passed=$((passed + 1)) || exit 1
}

# end ends the check's group, and what the machine's inetd has started in other groups.
end() {
	kill -KILL -- "-$job"
	kill -KILL $(ps -A -o pid= -o args= | sed -n "s|^ *\([0-9]*\) .*$bin/.*|\1|p"); wait
} 2>/dev/null

# The rest runs in a check. stop stops its servers, and fail ends it.
stop() { kill -KILL $(jobs -p) && wait $(jobs -p); } 2>/dev/null
fail() { echo "test.sh: $1" >>"$log" && exit 1; }

# await N PATTERN: waits until N lines of the log match, for a minute at most.
await() {
	local deadline=$((SECONDS + 60))
	until [ "$(grep -c -e "$2" "$log")" -ge "$1" ]; do
		kill -0 "$server" 2>/dev/null || fail 'the server has ended'
		[ "$SECONDS" -lt "$deadline" ] || fail "a minute without line $1 of '$2' in the log"
		sleep 0.1
	done
}

# start PATTERN COMMAND...: starts a server, and waits until a line of its log matches.
start() {
	: >"$log"
	"${@:2}" >/dev/null 2>>"$log" &
	server=$! asked=0
	await 1 "$1"
}
# listen PROGRAM: starts a server at a free port, which is then in $port. serves also asks.
listen() { start '^Listening at ' "$bin/$1" -p 0 '' && port=$(sed -n 's/^Listening at .*://p' "$log"); }
serves() { listen "$1" && ask "$port"; }

# ask PORT...: runs the client against each port in turn.
ask() {
	for port; do
		"$bin/client" -p "$port" 127.0.0.1 2>&1 | tee "$tmp/answers" &
		await $((asked += 1)) 'has closed$'
		wait $!
		[ "$(sort "$tmp/answers")" = '"Beautiful is better than?" "Ugly."
"Explicit is better than?" "Implicit."
"Simple is better than?" "Complex."' ] || fail 'the client should get the three answers'
	done
}

# under_inetd COMMAND...: runs both programs under an inetd. A log line with in_zen2 means that
# it listens for in_zen1; an answer of in_zen1, for both. Under ours, in_zen2 also exits.
under_inetd() {
	listen srv_single && port1=$port && listen srv_single && port2=$port && stop
	sed "s|^1060|$port1|; s|^1061|$port2|; s|brandon|$user|; s|/usr/bin/||; s|in_zen.|$bin/&|g" inetd.conf | tee "$bin/inetd.conf"
	start in_zen2 "$@" "$bin/inetd.conf" && ask "$port1" "$port2" "$port1" "$port2"
	[ "$1" != "$bin/inetd" ] || { await 1 '^Waited 8 seconds' && ask "$port2"; }
}

# under_systemd PROGRAM FLAG...: runs the program under systemd-socket-activate.
under_systemd() {
	listen srv_single && stop
	start '^Listening on ' systemd-socket-activate -E ZEN_LOG -E GOCOVERDIR "${@:2}" -l "127.0.0.1:$port" "$bin/$1"
	ask "$port" "$port"
}

check 'go vet' go vet ./...
check 'go build' go build "$@" -o "$bin/" ./...
for program in srv_single srv_threaded srv_legacy; do check "$program" serves "$program"; done
case $system in
linux | darwin | *bsd | dragonfly)
	for program in srv_async srv_asyncio1 srv_asyncio2 srv_asyncore; do check "$program" serves "$program"; done
	inetd=$(PATH=/usr/sbin:/sbin:$PATH command -v inetd)
	user=$(id -un 2>/dev/null) || user=nobody inetd=''
	check 'in_zen1 and in_zen2 under zen/tools/inetd' under_inetd "$bin/inetd"
	case $("${inetd:-false}" -h 2>&1) in
	*'usage: inetd [-d'*) check "in_zen1 and in_zen2 under $inetd" under_inetd "$inetd" -d ;; # not ours, nor busybox's
	*) skip "the machine's inetd: there is none with -d (Debian: openbsd-inetd), or user $UID has no name" ;;
	esac
	if command -v systemd-socket-activate >/dev/null; then
		check 'in_zen1 under systemd-socket-activate' under_systemd in_zen1 --inetd -a
		check 'in_zen2 under systemd-socket-activate' under_systemd in_zen2 --inetd
	else skip 'systemd-socket-activate: it is not installed'; fi
	;;
*) skip "the event loops, in_zen1 and in_zen2: $system has neither epoll nor kqueue, and no inetd" ;;
esac
[ "$system" = linux ] || skip "the rules that need Linux: ./test.sh -v names them"
check 'go test' go test -count=1 -p=4 "$@" ./zen/zentest ./... # zentest takes longest, so it begins first
echo "$passed passed, 0 failed, $skipped skipped"
