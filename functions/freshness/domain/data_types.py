"""The data types that Codat knows, and which kind of connection feeds each."""

from enum import StrEnum


class SourceType(StrEnum):
    """The kind of platform behind a connection (Codat's `sourceType`)."""

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
"""The keys of Codat's `DataType`. Codat may add to them: what it sends is never refused for being absent here."""


TELLING = frozenset({SourceType.ACCOUNTING, SourceType.BANKING, SourceType.COMMERCE})
"""The kinds of connection that say which data types they feed."""


def source_type(data_type: str) -> SourceType:
    """The kind of connection that feeds a data type: Codat's keys carry it as a prefix, accounting having none."""
    if data_type.startswith("banking-"):
        return SourceType.BANKING
    if data_type.startswith("commerce-"):
        return SourceType.COMMERCE
    return SourceType.ACCOUNTING
