#!/usr/bin/env bash
# Tests every program of this folder on your platform. Needs bash (3.2 is enough)
# and Go.
#
# First go vet and go build. Then the book's own test: this script starts each
# server, runs the client against it, and shows its log. It runs the two programs
# for inetd under zen/tools/inetd, and under the machine's inetd and systemd if they are
# there. Finally go test.
# shellcheck disable=SC2317 # check calls the functions
set -u -m -o pipefail # -m: a background job is a process group of its own
usage='usage: ./test.sh [-FLAG ...]

Tests every program of this folder, in about a minute. A flag, such as -race, is
for go build and go test; one with a value is one word: -p=1.'

for flag in "$@"; do
	case $flag in
	-h | -help | --help) echo "$usage" && exit ;;
	-*) ;;
	*) echo "test.sh: expected a flag, got $flag
$usage" >&2 && exit 2 ;;
	esac
done
unset CDPATH # or cd may print, and go elsewhere
cd "$(dirname "$0")" || exit 1
exec </dev/null # it may be closed, and then a server's socket would become descriptor 0
command -v go >/dev/null || { echo 'test.sh: go is not installed, or not in PATH' >&2 && exit 1; }
system=$(go env GOOS) || exit 1
PATH=$PATH:/usr/sbin:/sbin                    # where an inetd would be
export GOFLAGS="${GOFLAGS:-} -buildvcs=false" # or go build fails in a checkout of another user

TMPDIR=$(mktemp -d) || exit 1
export TMPDIR
programs=$TMPDIR # also the place of the inetd.conf, in which a path has no spaces
case $TMPDIR in *[!A-Za-z0-9/._-]*) programs=$(mktemp -d /tmp/zen.XXXXXX) || exit 1 ;; esac

passed=0 failed=0 skipped=0
what='' began=0 printed=0 # what check is running, since when, and when it printed a line
job='' server=''          # process groups
port=$((10000 + RANDOM % 20000))

# end GROUP: ends a process group, if there is one.
end() {
	[ -n "$1" ] || return
	{ kill -KILL -- "-$1" || kill -KILL "$1"; } 2>/dev/null # or on Windows
	wait "$1" 2>/dev/null
}

# end_server ends the server and all that it has started. An inetd gives its
# programs process groups of their own, so end_server looks for the programs.
end_server() {
	local process path
	end "$server"
	server=
	if [ -e /proc/self/exe ]; then
		for process in /proc/[0-9]*; do
			if [ "$process/exe" -ef "$programs/in_zen1" ] || [ "$process/exe" -ef "$programs/in_zen2" ]; then
				kill -KILL "${process##*/}"
			fi
		done
	else
		ps -A -ww -o pid= -o args= | while read -r process path; do
			case $path in "$programs"/in_zen*) kill -KILL "$process" ;; esac
		done
	fi 2>/dev/null
}

trap 'end "$job"; end_server; rm -rf "$TMPDIR" "$programs"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# check WHAT COMMAND...: runs the command, and counts whether it succeeds.
check() {
	what=$1 began=$SECONDS printed=$SECONDS
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

# pause waits for a moment. If nothing was printed for some seconds, it says what is
# running.
pause() {
	sleep 0.1 2>/dev/null || sleep 1
	[ "$((SECONDS - printed))" -ge 3 ] || return 0
	printed=$SECONDS
	echo "      $((SECONDS - began)) s: $what$(running)"
}

# within SECONDS COMMAND...: tries until the command succeeds.
within() {
	local seconds=$1 deadline=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$deadline" ] || { echo "not within $seconds s: $*" >&2 && return 1; }
		pause
	done
}

# ended: whether the job has ended.
ended() { ! kill -0 "$job" 2>/dev/null; }

# run SECONDS COMMAND...: runs the command as a job, and ends what it leaves running.
run() {
	local seconds=$1 status=1
	shift
	"$@" &
	job=$!
	if within "$seconds" ended; then
		wait "$job"
		status=$?
	fi
	end "$job"
	job=
	return "$status"
}

# start PATTERN COMMAND...: starts a server, and waits until a line of its log
# matches. It fails if the server ends before.
start() {
	local pattern=$1
	shift
	: >"$TMPDIR/log"
	"$@" >/dev/null 2>"$TMPDIR/log" &
	server=$!
	within 60 started "$pattern" && logged "$TMPDIR/log" 1 "$pattern"
}

started() { logged "$TMPDIR/log" 1 "$1" || ! kill -0 "$server" 2>/dev/null; }

# logged FILE N PATTERN: whether N lines match, or more.
logged() { [ "$(grep -c -e "$3" "$1")" -ge "$2" ]; }

ask() { "$programs/client" -p "$1" 127.0.0.1 >"$TMPDIR/answers"; }

# answers PORT: whether the client gets its three answers.
answers() {
	run 60 ask "$1" || return
	cat "$TMPDIR/answers"
	[ "$(sort "$TMPDIR/answers")" = '"Beautiful is better than?" "Ugly."
"Explicit is better than?" "Implicit."
"Simple is better than?" "Complex."' ]
}

# serves PROGRAM: whether the server answers the client, and says so in its log.
serves() {
	local status
	start '^Listening at ' "$programs/$1" -p 0 127.0.0.1 &&
		answers "$(sed -n 's/^Listening at .*://p' "$TMPDIR/log")" &&
		within 60 logged "$TMPDIR/log" 1 'has closed$'
	status=$?
	end_server
	cat "$TMPDIR/log"
	return "$status"
}

# free_port leaves a port that nobody listens at in $port, another one each time. It
# is below those that systems give to clients.
free_port() {
	for _ in 1 2 3 4 5 6 7 8 9; do
		port=$((port + 1))
		start '^Listening at ' "$programs/srv_single" -p "$port" ''
		end_server
		logged "$TMPDIR/log" 1 '^Listening at ' && return
	done
	cat "$TMPDIR/log"
	return 1
}

# under_inetd PATTERN COMMAND...: whether both programs answer under an inetd, and
# in_zen2 leaves, and comes again for the next client. The command starts the inetd,
# whose log has a line that matches when it runs.
under_inetd() {
	local port1060 status
	free_port && port1060=$port && free_port || return
	sed "s/^1060/$port1060/; s/^1061/$port/; s|brandon|$user|; s|/usr/bin|$programs|" inetd.conf >"$programs/inetd.conf"
	cat "$programs/inetd.conf"
	: >"$programs/zen.log"
	start "$@" &&
		within 60 answers "$port1060" 2>/dev/null && within 60 answers "$port" 2>/dev/null &&
		answers "$port1060" && answers "$port" && served 4 &&
		within 60 logged "$programs/zen.log" 1 '^Waited 8 seconds' && answers "$port" && served 5
	status=$?
	end_server
	cat "$TMPDIR/log" "$programs/zen.log"
	return "$status"
}

# served N: whether the log of the programs under inetd says that N clients came and left.
served() {
	within 60 logged "$programs/zen.log" "$1" 'has closed$' &&
		[ "$(grep -c '^Accepted connection from 127\.0\.0\.1:' "$programs/zen.log")" -eq "$1" ]
}

# under_systemd PROGRAM FLAG...: whether the program answers under
# systemd-socket-activate.
under_systemd() {
	local program=$1 status
	shift
	free_port || return
	: >"$programs/zen.log"
	start '^Listening on ' systemd-socket-activate --inetd "$@" -l "127.0.0.1:$port" "$programs/$program" &&
		answers "$port" && answers "$port" && served 2
	status=$?
	end_server
	cat "$TMPDIR/log" "$programs/zen.log"
	return "$status"
}

# report prints what go test has told until now: each package that is done, what was
# skipped and why, and everything that a failed test has printed. It leaves the names
# of the packages that are being tested in a file.
report() {
	awk -v names="$TMPDIR/running" '
		function field(name) {
			return match($0, "\"" name "\":\"[^\"]*\"") ? substr($0, RSTART + length(name) + 4, RLENGTH - length(name) - 5) : ""
		}
		function output() {
			if (!match($0, /"Output":"([^"\\]|\\.)*"/)) return ""
			$0 = substr($0, RSTART + 10, RLENGTH - 11)
			sub(/\\n$/, ""); gsub(/\\t/, "\t"); gsub(/\\"/, "\"")
			gsub(/\\u003c/, "<"); gsub(/\\u003e/, ">"); gsub(/\\u0026/, "\\&"); gsub(/\\\\/, "\\")
			return $0
		}
		!/^\{/ { print; next }  # an error of the go command
		!/\}$/ { next }         # the line is still being written
		{ action = field("Action"); package = field("Package"); test = field("Test"); sub("^[^/]*/[^/]*/", "", package) }
		action == "start" { running[package] }
		action == "build-output" { print output() }
		action == "output" {
			text = output()
			if (text ~ /^(=== |FAIL)/) next
			printed[package, test] = printed[package, test] text "\n"
			if (text !~ /^ *--- / && why[package, test] !~ /SKIPPED/) { sub(/^ */, "", text); why[package, test] = text }
			next
		}
		test != "" && (action == "skip" || action == "pass" && why[package, test] ~ /SKIPPED/) {
			print "SKIP  " package " " test ": " why[package, test]
		}
		action == "fail" { printf "%s", printed[package, test] }
		test == "" && (action == "pass" || action == "fail" || action == "skip") {
			delete running[package]
			match($0, /"Elapsed":[0-9]*/)
			print (action == "fail" ? "FAIL  " : "ok    ") package ", " substr($0, RSTART + 10, RLENGTH - 10) " s"
		}
		END { for (package in running) list = list " " package; print list >names }
	' "$TMPDIR/go_test"
}

# running prints the names of the packages that are being tested.
running() { [ ! -e "$TMPDIR/running" ] || cat "$TMPDIR/running"; }

# go_test FLAG...: runs the tests, and shows what they tell as it comes.
go_test() {
	local shown=0 status
	go test -json -count=1 -p=4 -timeout=30m "$@" ./... >"$TMPDIR/go_test" 2>&1 &
	job=$!
	until ended; do
		show
		for _ in 1 2 3 4 5; do pause; done
	done
	show
	wait "$job"
	status=$?
	end "$job"
	job=
	skipped=$((skipped + $(report | grep -c '^SKIP')))
	return "$status"
}

# show prints the lines of the report that it has not printed before.
show() {
	local new
	new=$(report | tail -n "+$((shown + 1))")
	[ -n "$new" ] || return 0
	shown=$((shown + $(wc -l <<<"$new")))
	printed=$SECONDS
	echo "$new"
}

check 'go vet' run 1800 go vet ./... || finish
check 'go build' run 1800 go build "$@" -ldflags "-X fopnp/chapter07/zen.LogFile=$programs/zen.log" -o "$programs/" ./... || finish

case $system in
linux | darwin | *bsd | dragonfly) loops=yes ;;
*) loops='' ;;
esac
for server in srv_single srv_threaded srv_legacy srv_async srv_asyncio1 srv_asyncio2 srv_asyncore; do
	case $loops-$server in
	-srv_async*) skip "$server" "there is neither epoll nor kqueue on $system" ;;
	*) check "$server" serves "$server" ;;
	esac
done

user=$(id -un 2>/dev/null) || user=
if [ -z "$loops" ]; then
	skip 'in_zen1 and in_zen2' "zen/tools/inetd does not run on $system"
else
	check 'in_zen1 and in_zen2 under zen/tools/inetd' under_inetd '^Listening at ' "$programs/inetd" "$programs/inetd.conf"
fi
if ! command -v inetd >/dev/null; then
	skip "in_zen1 and in_zen2 under the machine's inetd" 'there is none (Debian: apt-get install openbsd-inetd)'
elif [ -z "$user" ]; then
	skip "in_zen1 and in_zen2 under the machine's inetd" "it needs a user name, and user $(id -u) has none"
else
	check "in_zen1 and in_zen2 under the machine's inetd" under_inetd 'proto=tcp' inetd -d "$programs/inetd.conf"
fi
if command -v systemd-socket-activate >/dev/null; then
	check 'in_zen1 under systemd' under_systemd in_zen1 -a
	check 'in_zen2 under systemd' under_systemd in_zen2
else
	skip 'in_zen1 and in_zen2 under systemd' 'there is no systemd-socket-activate'
fi
check 'go test' go_test "$@"
finish
