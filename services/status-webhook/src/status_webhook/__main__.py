from status_webhook.main import main

main()
