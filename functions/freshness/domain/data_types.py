"""Codat's data types, and the source type of the connections that each is read from."""

from enum import StrEnum


class SourceType(StrEnum):
    """The kind of platform of a connection: Codat's `sourceType`."""

    ACCOUNTING = "Accounting"
    BANKING = "Banking"
    BANK_FEED = "BankFeed"
    COMMERCE = "Commerce"
    EXPENSE = "Expense"
    OTHER = "Other"
    UNKNOWN = "Unknown"


DATA_TYPES = frozenset(
    """
    accountTransactions balanceSheet bankAccounts bankTransactions billCreditNotes billPayments bills
    cashFlowStatement chartOfAccounts company creditNotes customers directCosts directIncomes invoices
    itemReceipts items journalEntries journals paymentMethods payments profitAndLoss purchaseOrders
    salesOrders suppliers taxRates trackingCategories transfers
    banking-accountBalances banking-accounts banking-transactionCategories banking-transactions
    commerce-companyInfo commerce-customers commerce-disputes commerce-locations commerce-orders
    commerce-paymentMethods commerce-payments commerce-productCategories commerce-products
    commerce-taxComponents commerce-transactions
    """.split()
)
"""The values of Codat's `DataType`. Codat may add some: a response may have data types that are not listed here."""


SOURCE_TYPES_WITH_OWN_DATA_TYPES = frozenset({SourceType.ACCOUNTING, SourceType.BANKING, SourceType.COMMERCE})
"""The source types whose connections supply only their own data types. Other connections may supply any."""


CUSTOM = "custom."
"""The prefix of custom data types' names in this project, as in `custom.IDENTIFIER`; the rest is Codat's identifier."""


def custom_identifier(data_type: str) -> str:
    """Return Codat's identifier of a custom data type; empty for Codat's own data types."""
    return data_type.removeprefix(CUSTOM) if data_type.startswith(CUSTOM) else ""


def source_type(data_type: str) -> SourceType:
    """Return the source type of a data type: the prefix of its name, or accounting if the name has no prefix.

    A custom data type has `OTHER`: it may be configured for any integration.
    """
    if data_type.startswith(CUSTOM):
        return SourceType.OTHER
    if data_type.startswith("banking-"):
        return SourceType.BANKING
    if data_type.startswith("commerce-"):
        return SourceType.COMMERCE
    return SourceType.ACCOUNTING
