"""Codat's data types, and the platforms that companies connect."""

from dataclasses import dataclass
from enum import StrEnum


class DataType(StrEnum):
    """Codat's 43 data types, by the keys that its API uses."""

    ACCOUNT_TRANSACTIONS = "accountTransactions"
    BALANCE_SHEET = "balanceSheet"
    BANK_ACCOUNTS = "bankAccounts"
    BANK_TRANSACTIONS = "bankTransactions"
    BILL_CREDIT_NOTES = "billCreditNotes"
    BILL_PAYMENTS = "billPayments"
    BILLS = "bills"
    CASH_FLOW_STATEMENT = "cashFlowStatement"
    CHART_OF_ACCOUNTS = "chartOfAccounts"
    COMPANY = "company"
    CREDIT_NOTES = "creditNotes"
    CUSTOMERS = "customers"
    DIRECT_COSTS = "directCosts"
    DIRECT_INCOMES = "directIncomes"
    INVOICES = "invoices"
    ITEM_RECEIPTS = "itemReceipts"
    ITEMS = "items"
    JOURNAL_ENTRIES = "journalEntries"
    JOURNALS = "journals"
    PAYMENT_METHODS = "paymentMethods"
    PAYMENTS = "payments"
    PROFIT_AND_LOSS = "profitAndLoss"
    PURCHASE_ORDERS = "purchaseOrders"
    SALES_ORDERS = "salesOrders"
    SUPPLIERS = "suppliers"
    TAX_RATES = "taxRates"
    TRACKING_CATEGORIES = "trackingCategories"
    TRANSFERS = "transfers"
    BANKING_ACCOUNT_BALANCES = "banking-accountBalances"
    BANKING_ACCOUNTS = "banking-accounts"
    BANKING_TRANSACTION_CATEGORIES = "banking-transactionCategories"
    BANKING_TRANSACTIONS = "banking-transactions"
    COMMERCE_COMPANY_INFO = "commerce-companyInfo"
    COMMERCE_CUSTOMERS = "commerce-customers"
    COMMERCE_DISPUTES = "commerce-disputes"
    COMMERCE_LOCATIONS = "commerce-locations"
    COMMERCE_ORDERS = "commerce-orders"
    COMMERCE_PAYMENT_METHODS = "commerce-paymentMethods"
    COMMERCE_PAYMENTS = "commerce-payments"
    COMMERCE_PRODUCT_CATEGORIES = "commerce-productCategories"
    COMMERCE_PRODUCTS = "commerce-products"
    COMMERCE_TAX_COMPONENTS = "commerce-taxComponents"
    COMMERCE_TRANSACTIONS = "commerce-transactions"


CUSTOM = "custom."
"""The prefix of custom data types' names in the sandbox; the rest is their identifier."""


def is_custom(data_type: str) -> bool:
    return data_type.startswith(CUSTOM)


class SourceType(StrEnum):
    """The source types of the sandbox's platforms."""

    ACCOUNTING = "Accounting"
    BANKING = "Banking"
    COMMERCE = "Commerce"


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform and the data types that Codat can read from it.

    An on-premise platform can be read only while its machine is online.
    """

    name: str
    integration_key: str
    source_type: SourceType
    data_types: tuple[DataType, ...]
    on_premise: bool = False


def _platform(name: str, key: str, source_type: SourceType, data_types: str, *, on_premise: bool = False) -> Platform:
    return Platform(name, key, source_type, tuple(DataType(each) for each in data_types.split()), on_premise)


XERO = _platform(
    "Xero",
    "gbol",
    SourceType.ACCOUNTING,
    "balanceSheet bankTransactions bills chartOfAccounts customers invoices journals profitAndLoss",
)
QUICKBOOKS_ONLINE = _platform(
    "QuickBooks Online",
    "qhyg",
    SourceType.ACCOUNTING,
    "accountTransactions balanceSheet bills chartOfAccounts invoices payments profitAndLoss",
)
QUICKBOOKS_DESKTOP = _platform(
    "QuickBooks Desktop",
    "pqsw",
    SourceType.ACCOUNTING,
    "balanceSheet bills invoices profitAndLoss suppliers",
    on_premise=True,
)
SAGE_50 = _platform(
    "Sage 50 (UK)", "hbql", SourceType.ACCOUNTING, "balanceSheet bills customers invoices suppliers", on_premise=True
)
MYOB = _platform("MYOB Business", "pdvj", SourceType.ACCOUNTING, "balanceSheet bills invoices profitAndLoss taxRates")
PLAID = _platform(
    "Plaid",
    "suuo",
    SourceType.BANKING,
    "banking-accountBalances banking-accounts banking-transactionCategories banking-transactions",
)
TRUELAYER = _platform(
    "TrueLayer",
    "upvr",
    SourceType.BANKING,
    "banking-accountBalances banking-accounts banking-transactionCategories banking-transactions",
)
SHOPIFY = _platform(
    "Shopify",
    "fztf",
    SourceType.COMMERCE,
    "commerce-companyInfo commerce-customers commerce-orders commerce-payments commerce-products",
)
STRIPE = _platform(
    "Stripe",
    "exgd",
    SourceType.COMMERCE,
    "commerce-companyInfo commerce-disputes commerce-payments commerce-transactions",
)
SQUARE = _platform(
    "Square", "zsth", SourceType.COMMERCE, "commerce-locations commerce-orders commerce-payments commerce-products"
)

_ALL = (XERO, QUICKBOOKS_ONLINE, QUICKBOOKS_DESKTOP, SAGE_50, MYOB, PLAID, TRUELAYER, SHOPIFY, STRIPE, SQUARE)
PLATFORMS = {platform.name: platform for platform in _ALL}
PLATFORMS_BY_KEY = {platform.integration_key: platform for platform in _ALL}

FETCH_ON_FIRST_LINK = frozenset(
    {
        DataType.BALANCE_SHEET,
        DataType.BANKING_ACCOUNT_BALANCES,
        DataType.BANKING_ACCOUNTS,
        DataType.BANKING_TRANSACTIONS,
        DataType.BILLS,
        DataType.CHART_OF_ACCOUNTS,
        DataType.COMMERCE_COMPANY_INFO,
        DataType.COMMERCE_ORDERS,
        DataType.COMMERCE_PAYMENTS,
        DataType.CUSTOMERS,
        DataType.INVOICES,
        DataType.PROFIT_AND_LOSS,
    }
)
"""The data types that Codat reads when a connection is first linked, and that `data/all` queues."""

RELATIVE_CHANGE_RATES: dict[str, float] = {
    DataType.BANKING_TRANSACTIONS: 3.0,
    DataType.BANKING_ACCOUNT_BALANCES: 3.0,
    DataType.COMMERCE_ORDERS: 4.0,
    DataType.COMMERCE_PAYMENTS: 4.0,
    DataType.COMMERCE_TRANSACTIONS: 4.0,
    DataType.BANKING_ACCOUNTS: 0.05,
    DataType.BANKING_TRANSACTION_CATEGORIES: 0.05,
    DataType.CHART_OF_ACCOUNTS: 0.05,
    DataType.COMMERCE_COMPANY_INFO: 0.02,
    DataType.COMMERCE_LOCATIONS: 0.02,
    DataType.TAX_RATES: 0.02,
}
"""The rates at which data types change, as factors of the settings' median rate; 1 for data types not listed."""
