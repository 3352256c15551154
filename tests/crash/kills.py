"""kill -9, again and again: under load, during start-up and recovery, and during a graceful stop."""

from crashes import Crashes, in_logs



def kill_loops(lab, report, kills, kills_per_log, look_every):
    """As many kills as asked for; the log is judged after every `look_every`, and at its end."""
    promise = "Killed at any moment, the process loses nothing it acknowledged."
    with report.trial("kill -9", promise) as trial, lab.stack() as stack:

        def new(number, heavy):
            return Crashes(lab, trial, f"kills-{number}", heavy)

        for log in in_logs(stack, new, kills, kills_per_log):
            log.strike(log.gateway.kill, look=log.crashes % look_every == 0)
