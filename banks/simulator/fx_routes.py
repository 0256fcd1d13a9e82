"""What can be read at a bank about foreign currency: what its desk quotes, and what has arrived."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response

from banks.simulator.control import get_gateway
from banks.simulator.fx_protocol import Quote, Remittance, Side
from banks.simulator.fx_quotes import quote
from banks.simulator.gateway import Gateway
from banks.simulator.inbound import remittance
from banks.simulator.protocol import Operation

_Bank = Annotated[Gateway, Depends(get_gateway)]
_BankCode = Annotated[str, Path(examples=["HBRB"])]


def add_fx_readings(router: APIRouter) -> None:
    """Adds them to the protocol's router."""

    @router.get("/fx-quotes/{currency}/{side}", responses={200: {"model": Quote}})
    async def read_quote(
        request: Request,
        bank: _Bank,
        bank_code: _BankCode,
        currency: Annotated[str, Path(max_length=3, examples=["USD"])],
        side: Side,
    ) -> Response:
        """What the desk deals at: `buys` for a conversion, `sells` for a reversal. `DESK_CLOSED` outside its hours."""
        return await bank.read(
            request, bank_code, Operation.FX_QUOTE, "", lambda fault: quote(bank.desk(bank_code), currency, side, fault)
        )

    @router.get("/inbound-remittances/{reference}", responses={200: {"model": Remittance}, 404: {"model": Remittance}})
    async def read_remittance(
        request: Request, bank: _Bank, bank_code: _BankCode, reference: Annotated[str, Path(max_length=40)]
    ) -> Response:
        """What has arrived under a reference; a signed 404 `REMITTANCE_NOT_FOUND` says that nothing has."""
        return await bank.read(
            request,
            bank_code,
            Operation.INBOUND,
            reference,
            lambda _: remittance(bank.connection, bank_code, reference),
        )
