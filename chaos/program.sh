# One attempt of a job of the kill tests: it writes down when it begins and how it ends.
# program.sh FOLDER SECONDS CODE
books="$1/$FEDYARD_WORKLOAD_ID-$FEDYARD_WORKLOAD_ATTEMPT"
sleeper=
trap 'echo "told $(date +%s%N)" >> "$books"; [ -z "$sleeper" ] || kill "$sleeper"; exit 143' TERM
echo "began $(date +%s%N) $$" >> "$books"
sleep "$2" &
sleeper=$!
echo "attempt $FEDYARD_WORKLOAD_ATTEMPT at $FEDYARD_WORKLOAD_ID"
wait "$sleeper"
echo "ended $(date +%s%N) $3" >> "$books"
exit "$3"
