"""
The log of a whole process, which a server has to itself.
"""

from __future__ import annotations

from twisted_tcpdemo.monitoring.guard import guardPublisher, unguardPublisher
from twisted_tcpdemo.monitoring.logbudget import LogBudget
from twisted_tcpdemo.monitoring.logfiles import checkFiles, reopenFiles


class BoundedProcessLog:
    """
    The process's log within a budget, for L{TCPDemoService
    <twisted_tcpdemo.service.service.TCPDemoService>}.
    """

    def __init__(self, budget: LogBudget) -> None:
        """
        @param budget: the budget of everything that clients can cause.
        """
        self._budget = budget
        self._isGuarding = False

    def begin(self) -> None:
        """
        See L{ProcessLog<twisted_tcpdemo.shapes.ProcessLog>}.
        """
        self._isGuarding = self._isGuarding or guardPublisher(self._budget)

    def check(self) -> None:
        """
        See L{ProcessLog<twisted_tcpdemo.shapes.ProcessLog>}.
        """
        checkFiles()

    def reopen(self, signalName: str) -> None:
        """
        See L{ProcessLog<twisted_tcpdemo.shapes.ProcessLog>}.
        """
        reopenFiles(signalName)

    def end(self) -> None:
        """
        See L{ProcessLog<twisted_tcpdemo.shapes.ProcessLog>}.
        """
        self._budget.flush()
        if self._isGuarding:
            self._isGuarding = False
            unguardPublisher()
