# What an image of a training job has to do: enrol by the token in its environment, and follow its inbox.
# takes_part.sh FEDYARD PIDS TRAIN TEST WORDS: the program, a folder for the number of this process, records, and whose
# project it is.
set -e
echo "workload $FEDYARD_WORKLOAD_ID, attempt $FEDYARD_WORKLOAD_ATTEMPT, trains on $(($(wc -l < "$3") - 1)) patients"
echo $$ > "$2/$FEDYARD_WORKLOAD_ID-$FEDYARD_WORKLOAD_ATTEMPT"
"$1" site init --hub "$FEDYARD_HUB_URL" --name any --join "$FEDYARD_PROJECT_ID" --coordinator "$5" \
    --data train="$3" --data test="$4" --folder "$PWD/site"
exec "$1" --folder "$PWD/site" site run
