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
    """Return whether a data type is a custom one."""
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


XERO = Platform(
    "Xero",
    "gbol",
    SourceType.ACCOUNTING,
    (
        DataType.BALANCE_SHEET,
        DataType.BANK_TRANSACTIONS,
        DataType.BILLS,
        DataType.CHART_OF_ACCOUNTS,
        DataType.CUSTOMERS,
        DataType.INVOICES,
        DataType.JOURNALS,
        DataType.PROFIT_AND_LOSS,
    ),
)
QUICKBOOKS_ONLINE = Platform(
    "QuickBooks Online",
    "qhyg",
    SourceType.ACCOUNTING,
    (
        DataType.ACCOUNT_TRANSACTIONS,
        DataType.BALANCE_SHEET,
        DataType.BILLS,
        DataType.CHART_OF_ACCOUNTS,
        DataType.INVOICES,
        DataType.PAYMENTS,
        DataType.PROFIT_AND_LOSS,
    ),
)
QUICKBOOKS_DESKTOP = Platform(
    "QuickBooks Desktop",
    "pqsw",
    SourceType.ACCOUNTING,
    (
        DataType.BALANCE_SHEET,
        DataType.BILLS,
        DataType.INVOICES,
        DataType.PROFIT_AND_LOSS,
        DataType.SUPPLIERS,
    ),
    on_premise=True,
)
SAGE_50 = Platform(
    "Sage 50 (UK)",
    "hbql",
    SourceType.ACCOUNTING,
    (
        DataType.BALANCE_SHEET,
        DataType.BILLS,
        DataType.CUSTOMERS,
        DataType.INVOICES,
        DataType.SUPPLIERS,
    ),
    on_premise=True,
)
MYOB = Platform(
    "MYOB Business",
    "pdvj",
    SourceType.ACCOUNTING,
    (
        DataType.BALANCE_SHEET,
        DataType.BILLS,
        DataType.INVOICES,
        DataType.PROFIT_AND_LOSS,
        DataType.TAX_RATES,
    ),
)
PLAID = Platform(
    "Plaid",
    "suuo",
    SourceType.BANKING,
    (
        DataType.BANKING_ACCOUNT_BALANCES,
        DataType.BANKING_ACCOUNTS,
        DataType.BANKING_TRANSACTION_CATEGORIES,
        DataType.BANKING_TRANSACTIONS,
    ),
)
TRUELAYER = Platform(
    "TrueLayer",
    "upvr",
    SourceType.BANKING,
    (
        DataType.BANKING_ACCOUNT_BALANCES,
        DataType.BANKING_ACCOUNTS,
        DataType.BANKING_TRANSACTION_CATEGORIES,
        DataType.BANKING_TRANSACTIONS,
    ),
)
SHOPIFY = Platform(
    "Shopify",
    "fztf",
    SourceType.COMMERCE,
    (
        DataType.COMMERCE_COMPANY_INFO,
        DataType.COMMERCE_CUSTOMERS,
        DataType.COMMERCE_ORDERS,
        DataType.COMMERCE_PAYMENTS,
        DataType.COMMERCE_PRODUCTS,
    ),
)
STRIPE = Platform(
    "Stripe",
    "exgd",
    SourceType.COMMERCE,
    (
        DataType.COMMERCE_COMPANY_INFO,
        DataType.COMMERCE_DISPUTES,
        DataType.COMMERCE_PAYMENTS,
        DataType.COMMERCE_TRANSACTIONS,
    ),
)
SQUARE = Platform(
    "Square",
    "zsth",
    SourceType.COMMERCE,
    (
        DataType.COMMERCE_LOCATIONS,
        DataType.COMMERCE_ORDERS,
        DataType.COMMERCE_PAYMENTS,
        DataType.COMMERCE_PRODUCTS,
    ),
)

PLATFORMS = {
    platform.name: platform
    for platform in (
        XERO,
        QUICKBOOKS_ONLINE,
        QUICKBOOKS_DESKTOP,
        SAGE_50,
        MYOB,
        PLAID,
        TRUELAYER,
        SHOPIFY,
        STRIPE,
        SQUARE,
    )
}

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
