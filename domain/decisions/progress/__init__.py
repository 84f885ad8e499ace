"""How a run moves on: from round to round, task to task, to its end.

The commands (a report, a deadline, a stop) live in runs.py and seats.py beside this package; here is what follows from
them. The hub moves the group, not a polling coordinator. The law, in words; what may follow what at all is in
`domain.states`.

Rounds (rounds.py)
 * A round is in one of four stages: selecting (seats accept and get ready), training (they train and submit),
   aggregating (the coordinator makes the global model), and, in rounds that score, scoring (the sites say what it is
   worth on their data). Each stage has a deadline, never later than the run's own.
 * Only two things move a round: one of its seats has changed, after which the caller has to `settle` it, or its
   deadline has passed. No other seat, round or clock does.
 * When a round opens it draws seats, as many as its contract says of all that its task has then, of those that could
   take part: who was dropped or has failed could not. The others rest: nobody waits for them, and they report nothing.
 * The quorum is fixed when the round opens, from the number that is drawn.
 * A stage ends early when nobody is waited for any more and the quorum is there. One seat that is still on its way
   keeps it open until the deadline, however many are there.
 * A stage fails early when those that are there and those that are waited for are too few together: in training
   always, in selecting where the contract says too_few: fail, since there others may still rejoin.
 * At the deadline a stage goes on without the late, whose seats are dropped, if the quorum is there. If not, it is
   extended by its own span (too_few: wait) or fails. An aggregation that is late always fails.
 * A dropped seat may rejoin if its contract lets it (late) and a round remains: the present one while it is selecting,
   the next one otherwise. While others were drawn for the present round, only who was dropped in it comes back to it.
 * A task that aggregates nothing completes its round when the reports are in; else the coordinator's model does, if
   the updates that it has not left out are still a quorum.
 * The model is the task's newest, and a version of its project, as soon as it is there. If the round scores, every seat
   that has submitted in it or rests in it is asked. Scoring ends when all of those have answered, or at its deadline:
   nobody is dropped for being late or silent then, and a round that is scored cannot fail. Whatever ends its task ends
   it as completed, with the scores that have come.
 * A completed round opens the next one, or its task has succeeded: after the last round, or early, when too many rounds
   in a row were not better by the metric that the task names. A failed round fails its task. There is no second
   try of a round: that is what restarting a run is for.

Tasks (tasks.py)
 * A task starts when every task that it follows has succeeded, with the newest global model of those. It is skipped as
   soon as one of them has ended otherwise.
 * Seats are made when the task starts, by the memberships of that moment; who joins later takes part in the next task.
 * With a task its live seats end, and whoever has a seat is told.

Runs (runs.py)
 * A run ends when every task has ended: it has succeeded if all of them have; otherwise it has failed, for the reason
   of the first task that failed. While other tasks can go on they do.
 * What ends a run from outside (stop, restart, its deadline, a hub that was restored) cancels what lives of it: the
   round, its seats, the task, then the run.
 * What is final stays as it is, and nothing live is under anything final.
 * Each run that ends lets the next queued one of its project begin.

Each module knows only those above it: a round does not end its task but returns the `TaskEnd` that follows from it, and
`runs.move_on` carries that out. Who calls a function that returns one hands it there, in the same decision.
"""
