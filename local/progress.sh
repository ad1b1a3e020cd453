#!/bin/sh
# progress.sh TITLE COMMAND...: runs COMMAND, printing a dot every second. Prints the output of COMMAND only if it fails.
title=$1
shift
output=$(mktemp)
"$@" >"$output" 2>&1 &
command=$!
trap 'kill $command 2>/dev/null; rm -f "$output"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

printf '%s ' "$title"
while kill -0 $command 2>/dev/null; do
	printf .
	sleep 1
done
if wait $command; then
	echo ' done'
else
	status=$?
	echo ' failed'
	cat "$output" >&2
	exit $status
fi
