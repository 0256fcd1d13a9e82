"""Every time-out and retry, by name. Times are of the process, so that a test can skip them."""

from __future__ import annotations

from datetime import timedelta

from temporalio.common import RetryPolicy

# Longer than the longest exchange with any bank (15 s, checked when the bank register is read), so that an attempt that
# Temporal gave up on is really over.
BANK_STEP_TIMEOUT = timedelta(seconds=20)
# A question and some statements, while a person waits for them.
BANK_RECORD_TIMEOUT = timedelta(seconds=60)
# An effect is never retried blindly: one attempt, then the bank is asked.
ONCE = RetryPolicy(maximum_attempts=1)
# Questions change nothing and may be asked for ever.
PATIENTLY = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=60)
)

SETTLE_LOCALLY_TIMEOUT = timedelta(seconds=5)
SETTLE_LOCALLY = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_attempts=3)
SETTLE_TIMEOUT = timedelta(seconds=30)

# So long a bank may keep silent before the instruction is shown as unknown.
PATIENCE_BEFORE_UNKNOWN = timedelta(seconds=10)
FIRST_PAUSE_BETWEEN_QUESTIONS = timedelta(seconds=1)
LONGEST_PAUSE_BETWEEN_QUESTIONS = timedelta(minutes=10)
# How often a step that only a person can bring on is looked at again.
PAUSE_WHILE_OPERATOR_ACTS = timedelta(hours=6)
# What an authority holds is looked at again, more and more slowly.
FIRST_PAUSE_WHILE_HELD = timedelta(minutes=1)
LONGEST_PAUSE_WHILE_HELD = timedelta(hours=1)
# The lists cannot be asked: nothing is sent, and they are asked again, more and more slowly.
FIRST_PAUSE_WITHOUT_LISTS = timedelta(minutes=1)
LONGEST_PAUSE_WITHOUT_LISTS = timedelta(hours=1)
# A bank that says that it is closed is not tried again sooner, whatever the calendar says of it.
FIRST_PAUSE_BEFORE_CLOSED_BANK = timedelta(minutes=1)
LONGEST_PAUSE_BEFORE_CLOSED_BANK = timedelta(hours=6)
# A request number has two digits for the attempt; a bank that is closed as often as that has said no.
MOST_PAYOUT_ATTEMPTS = 100
# Where the route does not say how long a bank's answer to a payout may take before a person is asked.
ANSWER_TO_PAYOUT_WITHIN = timedelta(hours=24)
# A return that was announced may show in the bank's books a little later.
PATIENCE_FOR_ANNOUNCED_RETURN = timedelta(hours=1)
FIRST_PAUSE_BEFORE_RETURN_SHOWS = timedelta(minutes=1)
# A desk that gives no rate is asked again, more and more slowly, for as long as its window is open.
FIRST_PAUSE_WITHOUT_QUOTE = timedelta(seconds=5)
LONGEST_PAUSE_WITHOUT_QUOTE = timedelta(minutes=1)
# Without a desk, or without the authority's rate of the month, nothing is planned; whoever brings them tells it.
PAUSE_WITHOUT_PLAN = timedelta(hours=1)
# A desk that says that it is closed is not tried again sooner, whatever the calendar says of it.
FIRST_PAUSE_BEFORE_CLOSED_DESK = timedelta(minutes=1)
LONGEST_PAUSE_BEFORE_CLOSED_DESK = timedelta(hours=6)
# A request number has two digits for the attempt.
MOST_FX_ATTEMPTS = 100
ANSWER_TO_DEAL_WITHIN = timedelta(hours=4)
DELIVERY_WITHIN = timedelta(hours=72)
FIRST_PAUSE_BEFORE_DELIVERY = timedelta(minutes=1)
LONGEST_PAUSE_BEFORE_DELIVERY = timedelta(hours=1)
# An excess that was announced may show in the desk's answer a little later.
PATIENCE_FOR_ANNOUNCED_EXCESS = timedelta(hours=1)
FIRST_PAUSE_BEFORE_EXCESS_SHOWS = timedelta(minutes=1)
# What comes back at once to where it was takes its time.
PAUSE_BETWEEN_ROUNDS = timedelta(seconds=1)
# A closure is looked at as often as this at least; whoever changes what is in its way makes the sweeper tell it.
LONGEST_PAUSE_BETWEEN_LOOKS = timedelta(hours=24)
# So long recipients are tried before the answer is given; those that are silent are told and asked afterwards.
TELLING_BEFORE_THE_ANSWER = timedelta(minutes=2)
TELLING_TIMEOUT = timedelta(minutes=5)
FIRST_PAUSE_BETWEEN_NOTICES = timedelta(minutes=1)
LONGEST_PAUSE_BETWEEN_NOTICES = timedelta(hours=24)
RETAIN_TIMEOUT = timedelta(minutes=2)
# An answer this long after the order's expiry was under way when it expired, and still counts.
GRACE_FOR_ANSWER_UNDER_WAY = timedelta(seconds=60)
